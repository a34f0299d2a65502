"""STS where moto answers with examples: who the root user is, and sessions with what bounds them.

Refused by name: sessions that no key would be issued for, and those that another identity provider would vouch for.
"""

from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.models import iam_backends
from moto.iam.policy_validation import IAMPolicyDocumentValidator
from moto.sts.models import AssumedRole, STSBackend
from moto.sts.responses import TokenResponse

from localaws.errors import AwsError
from localaws.iam.managed_policies import load
from localaws.partition import partition
from localaws.permissions.authority import Authority
from localaws.permissions.callers import Bounds
from localaws.permissions.identities import default_version
from localaws.permissions.questions import Question
from localaws.policies.context import Context

_caller_of = STSBackend.get_caller_identity
_assume = TokenResponse.assume_role
_make = STSBackend.assume_role
_EXAMPLE_USER = ":user/moto"  # moto's answer for a key that is none of IAM's or STS's: the gate lets only root's pass
_NOT_EMULATED = (
    *("get_session_token", "get_federation_token"),
    *("assume_role_with_web_identity", "assume_role_with_saml"),  # which moto gives to anybody, whatever a role trusts
)
_USUAL_SECONDS = 3600
_LONGEST_CHAINED_SECONDS = 3600
_TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
_TOO_LONG_CHAINED = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
_IDENTITY_IS_SET = "The source identity is already set for this assume role session"
_SAME_KEYS = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
_INHERITED_KEY = (
    "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
    "calling session."
)
_NOT_PASSED_KEY = "The specified transitive tag key must be included in the requested tags."


def get_caller_identity(self: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
    """Return the id, ARN and account of who signed."""
    user_id, arn, account_id = _caller_of(self, access_key_id, region)
    if arn.endswith(_EXAMPLE_USER):
        return account_id, f"arn:{partition()}:iam::{account_id}:root", account_id
    return user_id, arn, account_id


def assume_role(self: TokenResponse, authority: Authority) -> ActionResult:
    """Answer with a session that is bounded by the request's policies and has its tags.

    One that a session of a role asks for also has that one's transitive tags and source identity, for an hour at most.

    Raises:
        AwsError: a parameter is none that STS takes, the session would be longer than it may be, a tag is inherited
            already, or the role does not trust the caller to keep its source identity.
    """
    wanted = self._get_params()
    backend: Any = iam_backends[self.current_account][partition()]
    caller_key, callers = self.get_access_key(), authority.callers
    calling: Any = self.backend.get_assumed_role_from_access_key(caller_key)
    before = callers.bounds_of(caller_key)
    _check_duration(backend, wanted, is_chained=calling is not None)
    tags, transitive = _tags(wanted, before)
    identity = _source_identity(wanted, before)
    if calling is not None and identity and not wanted.get("SourceIdentity"):
        _check_kept(authority, calling, wanted["RoleArn"], identity)
    policies = _policies(backend, wanted)
    result = _assume(self)
    answer: Any = result.result
    made = answer["Credentials"].access_key_id
    callers.bind(made, Bounds(policies, {**before.inherited, **tags}, before.transitive | transitive, identity))
    return ActionResult({**answer, **({"SourceIdentity": identity} if identity else {})})


def make_session(self: STSBackend, *given: Any, **wanted: Any) -> AssumedRole:
    """Make a session that belongs to the role that has the ARN now, and to no other one that gets it."""
    session: Any = _make(self, *given, **wanted)
    roles = list(iam_backends[session.account_id][partition()].roles.values())
    session.role_id = next((each.id for each in roles if each.arn == session.role_arn), "")
    return session  # type: ignore[no-any-return]


def not_emulated(_: TokenResponse) -> Any:
    """Refuse an operation that moto would answer with a key that opens nothing, or too much.

    Raises:
        NotImplementedError: always; the front names the operation.
    """
    raise NotImplementedError


def install_sessions(authority: Authority) -> None:
    """Put these in the place of moto's."""
    STSBackend.assume_role = make_session  # type: ignore[method-assign]
    AssumedRole.user_id = property(lambda self: f"{self.role_id}:{self.session_name}")  # type: ignore[assignment,method-assign]
    STSBackend.get_caller_identity = get_caller_identity  # type: ignore[method-assign]
    TokenResponse.assume_role = lambda self: assume_role(self, authority)  # type: ignore[method-assign]
    for name in _NOT_EMULATED:
        setattr(TokenResponse, name, not_emulated)


def _check_duration(backend: Any, wanted: dict[str, Any], *, is_chained: bool) -> None:
    role = next((each for each in list(backend.roles.values()) if each.arn == wanted["RoleArn"]), None)
    seconds = int(wanted.get("DurationSeconds") or _USUAL_SECONDS)
    longest = int(getattr(role, "max_session_duration", None) or _USUAL_SECONDS)
    if is_chained and seconds > _LONGEST_CHAINED_SECONDS:
        raise AwsError("ValidationError", _TOO_LONG_CHAINED)
    if seconds > longest:
        raise AwsError("ValidationError", _TOO_LONG)


def _tags(wanted: dict[str, Any], before: Bounds) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the tags that are passed, and the keys, in lower case, of those that are transitive."""
    tags = [(each["Key"], each.get("Value") or "") for each in wanted.get("Tags") or []]
    keys = {name.lower() for name, _ in tags}
    transitive = frozenset(each.lower() for each in wanted.get("TransitiveTagKeys") or [])
    for is_wrong, why in (
        (len(keys) < len(tags), _SAME_KEYS),
        (bool(before.transitive & (keys | transitive)), _INHERITED_KEY),
        (not transitive <= keys, _NOT_PASSED_KEY),
    ):
        if is_wrong:
            raise AwsError("InvalidParameterValue", why)
    return dict(tags), transitive


def _source_identity(wanted: dict[str, Any], before: Bounds) -> str:
    given = wanted.get("SourceIdentity") or before.source_identity
    if before.source_identity not in ("", given):
        raise AwsError("ValidationError", _IDENTITY_IS_SET)
    return str(given)


def _check_kept(authority: Authority, calling: Any, role_arn: str, identity: str) -> None:
    """Ask for `sts:SetSourceIdentity`, which a session with one needs for each role that it assumes."""
    context = Context({"sts:sourceidentity": [identity]})
    question = Question("sts:SetSourceIdentity", role_arn, role_arn.split(":")[4], context)
    authority.check(authority.callers.of_session(calling), [question], "sts")


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
