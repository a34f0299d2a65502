"""What KMS refuses and moto does not: AWS's own aliases, and key policies that are none or lock out who gives them.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
"""

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms.exceptions import NotAuthorizedException
from moto.kms.responses import KmsResponse

from localaws.kms.keys import AWS_ALIASES, find_key
from localaws.partition import partition
from localaws.permissions.callers import Caller
from localaws.permissions.circumstances import HERE, time_of
from localaws.permissions.gate import CALLER
from localaws.permissions.request_keys import REGION
from localaws.policies.conditions import UnknownOperator
from localaws.policies.context import Context
from localaws.policies.decision import Identity, Kind, Request, decide
from localaws.policies.documents import Policy, read_document, resource_policy_of

_CHANGE = "kms:PutKeyPolicy"
_set_alias, _delete_alias = KmsResponse._set_alias, KmsResponse.delete_alias
_create_key, _put_key_policy = KmsResponse.create_key, KmsResponse.put_key_policy


class MalformedKeyPolicy(JsonRESTError):
    """A key policy is no policy."""

    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("MalformedPolicyDocumentException", message)


def set_alias(self: KmsResponse, update: bool = False) -> str:
    """Make or move an alias, but none of AWS's own: a key that has one is used without being allowed to."""
    _refuse_of_aws(self)
    return _set_alias(self, update)


def delete_alias(self: KmsResponse) -> str:
    """Remove an alias, but none of AWS's own."""
    _refuse_of_aws(self)
    return _delete_alias(self)


def create_key(self: KmsResponse) -> str:
    """Make a key; its policy can be evaluated, and lets its maker change it."""
    _check_policy(self)
    return _create_key(self)


def put_key_policy(self: KmsResponse) -> str:
    """Give a key a policy that can be evaluated, and lets who gives it change it again."""
    _check_policy(self)
    return _put_key_policy(self)


def replicate_key(self: KmsResponse) -> str:
    """Refuse by name: a replica is in another region, of which localaws has none, and moto drops its policy.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError


def install_rules() -> None:
    """Put these in the place of moto's."""
    KmsResponse._set_alias = set_alias  # type: ignore[method-assign]
    for each in (delete_alias, create_key, put_key_policy, replicate_key):
        setattr(KmsResponse, each.__name__, each)


def _refuse_of_aws(request: KmsResponse) -> None:
    if str(request._get_param("AliasName")).startswith(AWS_ALIASES):
        raise NotAuthorizedException


def _check_policy(request: KmsResponse) -> None:
    text: Any = request._get_param("Policy")
    if text is None:
        return
    try:
        policy = resource_policy_of("key policy", read_document(text))
    except UnknownOperator as error:
        raise MalformedKeyPolicy(f"localaws does not evaluate the condition operator {error}.") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise MalformedKeyPolicy(f"The new key policy is not a policy: {error}") from None
    caller: Caller | None = request.normalized_request.environ["asgi.scope"].get(CALLER)  # None: IAM is off
    is_bypassed = request._get_param("BypassPolicyLockoutSafetyCheck")
    if caller is not None and not is_bypassed and _locks_out(caller, policy, _arn(request)):
        raise MalformedKeyPolicy("The new key policy will not allow you to update the key policy in the future.")


def _locks_out(caller: Caller, policy: Policy, arn: str) -> bool:
    """Return whether a key policy keeps its giver from changing it; where it leaves that to IAM, IAM can allow it."""
    account_id = caller.principal.account_id
    values = {**HERE, REGION: [arn.split(":")[3]], "kms:calleraccount": [account_id]}
    asked = Request(_CHANGE, arn, Context(values, (caller.values.get, time_of)), account_id)
    decision = decide(caller.principal, Identity(), asked, policy, is_trust=True)
    return not decision.is_allowed and decision.kind is not Kind.IDENTITY


def _arn(request: KmsResponse) -> str:
    """Return the ARN of the key that a request names; of one that is to be made the id is not known."""
    account_id, region, name = request.current_account, request.region, request._get_param("KeyId")
    found = find_key(account_id, region, name) if name else None
    return found.arn if found else f"arn:{partition()}:kms:{region}:{account_id}:key/new"
