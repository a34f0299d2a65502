"""IAM and STS: `SimulatePrincipalPolicy`, which moto lacks and the SageMaker SDK calls, and who the caller is.

Evaluated: the identity's inline and attached policies (a user's groups too), `PolicyInputList`, its permissions
boundary, `ResourceArns`, `ContextEntries`, paging. Not emulated: resource policies (`ResourcePolicy` is refused), and
policies are not enforced on requests: a denied action is only ever reported by this operation.
"""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:  # noqa: ARG001 every service has the same signature
    """Change moto's IAM and STS."""
    from moto.iam.responses import IamResponse

    from localaws.iam.sessions import install_sessions
    from localaws.iam.simulation import simulate_custom_policy, simulate_principal_policy

    IamResponse.simulate_principal_policy = simulate_principal_policy  # type: ignore[attr-defined]
    IamResponse.simulate_custom_policy = simulate_custom_policy  # type: ignore[attr-defined]
    install_sessions()
    return []
