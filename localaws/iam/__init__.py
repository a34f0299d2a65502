"""IAM's and STS's operations that moto lacks or answers with examples; who may do what is in `localaws.permissions`."""

from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.permissions.route import record_route


def install(core: Core) -> list[BaseRoute]:
    """Change moto's IAM and STS."""
    from moto.iam.responses import IamResponse

    from localaws.iam.boundaries import install_boundaries
    from localaws.iam.credential_report import get_account_summary, get_credential_report
    from localaws.iam.last_accessed import install_last_accessed
    from localaws.iam.last_used import tell_last_used
    from localaws.iam.late import install_lateness
    from localaws.iam.managed_policies import install_managed_policies
    from localaws.iam.principals import install_principals
    from localaws.iam.sessions import install_sessions
    from localaws.iam.simulation import simulate_custom_policy, simulate_principal_policy
    from localaws.iam.trust_policies import install_trust_policies

    IamResponse.simulate_principal_policy = simulate_principal_policy  # type: ignore[attr-defined]
    IamResponse.simulate_custom_policy = simulate_custom_policy  # type: ignore[attr-defined]
    IamResponse.get_credential_report = get_credential_report  # type: ignore[method-assign]
    IamResponse.get_account_summary = get_account_summary  # type: ignore[method-assign]
    install_last_accessed(core.authority)
    install_boundaries()
    install_managed_policies()
    install_trust_policies()
    if core.propagation.is_late:
        install_lateness(core.propagation)
    install_principals()
    core.before_each_request("iam", lambda: tell_last_used(core.authority))
    install_sessions(core.authority)
    return [record_route(core.authority)]
