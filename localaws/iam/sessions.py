"""STS where moto answers with examples: who the root user is, and sessions with what bounds them.

Refused by name: sessions that no key would be issued for, and those that another identity provider would vouch for.
"""

from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.models import iam_backends
from moto.iam.policy_validation import IAMPolicyDocumentValidator
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

from localaws.errors import AwsError
from localaws.iam.managed_policies import load
from localaws.permissions.callers import Bounds, Callers
from localaws.permissions.identities import default_version

_caller_of = STSBackend.get_caller_identity
_assume = TokenResponse.assume_role
_EXAMPLE_USER = ":user/moto"  # moto's answer for a key that is none of IAM's or STS's: the gate lets only root's pass
_NOT_EMULATED = (
    *("get_session_token", "get_federation_token"),
    *("assume_role_with_web_identity", "assume_role_with_saml"),  # which moto gives to anybody, whatever a role trusts
)
_SHORTEST_SECONDS = 900
_USUAL_SECONDS = 3600
_TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."


def get_caller_identity(self: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
    """Return the id, ARN and account of who signed."""
    user_id, arn, account_id = _caller_of(self, access_key_id, region)
    if arn.endswith(_EXAMPLE_USER):
        return account_id, f"arn:aws:iam::{account_id}:root", account_id
    return user_id, arn, account_id


def assume_role(self: TokenResponse, callers: Callers) -> ActionResult:
    """Answer with a session that is bounded by the request's policies and has its tags.

    Raises:
        AwsError: the session would be longer than the role's longest, or a policy is none.
    """
    wanted = self._get_params()
    backend: Any = iam_backends[self.current_account]["aws"]
    _check_duration(backend, wanted)
    policies = _policies(backend, wanted)
    tags = {each["Key"]: each["Value"] for each in wanted.get("Tags") or []}
    result = _assume(self)
    session: Any = result.result
    callers.bind(session["Credentials"].access_key_id, Bounds(policies, tags))
    return result


def not_emulated(_: TokenResponse) -> Any:
    """Refuse an operation that moto would answer with a key that opens nothing, or too much.

    Raises:
        NotImplementedError: always; the front names the operation.
    """
    raise NotImplementedError


def install_sessions(callers: Callers) -> None:
    """Put these in the place of moto's."""
    STSBackend.get_caller_identity = get_caller_identity  # type: ignore[method-assign]
    TokenResponse.assume_role = lambda self: assume_role(self, callers)  # type: ignore[method-assign]
    for name in _NOT_EMULATED:
        setattr(TokenResponse, name, not_emulated)


def _check_duration(backend: Any, wanted: dict[str, Any]) -> None:
    role = next((each for each in list(backend.roles.values()) if each.arn == wanted["RoleArn"]), None)
    seconds = int(wanted.get("DurationSeconds") or _USUAL_SECONDS)
    longest = int(getattr(role, "max_session_duration", None) or _USUAL_SECONDS)
    if seconds < _SHORTEST_SECONDS:
        text = (
            f"Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than"
        )
        raise AwsError("ValidationError", f"1 validation error detected: {text} or equal to {_SHORTEST_SECONDS}")
    if seconds > longest:
        raise AwsError("ValidationError", _TOO_LONG)


def _policies(backend: Any, wanted: dict[str, Any]) -> dict[str, str] | None:
    """Return the texts of the policies that bound the session by name, None if there are none."""
    arns = [each["arn"] if "arn" in each else each["Arn"] for each in wanted.get("PolicyArns") or []]
    if arns:
        load(backend)
    unknown = [each for each in arns if each not in backend.managed_policies]
    if unknown:
        raise AwsError("InvalidParameterValue", f"The policy {unknown[0]} does not exist.")
    texts = {each: default_version(backend.managed_policies[each]) for each in arns}
    if (own := wanted.get("Policy")) is not None:
        try:
            IAMPolicyDocumentValidator(own).validate()
        except MalformedPolicyDocument as error:
            raise AwsError("MalformedPolicyDocument", str(error)) from None
        texts["session policy"] = own
    return texts or None
