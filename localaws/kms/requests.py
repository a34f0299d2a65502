"""What KMS refuses and moto does not: AWS's own aliases, and key policies that are none."""

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms.exceptions import NotAuthorizedException
from moto.kms.responses import KmsResponse

from localaws.kms.keys import AWS_ALIASES
from localaws.policies.conditions import UnknownOperator
from localaws.policies.documents import resource_policy_of

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
    """Make a key; its policy can be evaluated."""
    _check_policy(self)
    return _create_key(self)


def put_key_policy(self: KmsResponse) -> str:
    """Give a key a policy that can be evaluated."""
    _check_policy(self)
    return _put_key_policy(self)


def install_rules() -> None:
    """Put these in the place of moto's."""
    KmsResponse._set_alias = set_alias  # type: ignore[method-assign]
    for each in (delete_alias, create_key, put_key_policy):
        setattr(KmsResponse, each.__name__, each)


def _refuse_of_aws(request: KmsResponse) -> None:
    if str(request._get_param("AliasName")).startswith(AWS_ALIASES):
        raise NotAuthorizedException


def _check_policy(request: KmsResponse) -> None:
    text: Any = request._get_param("Policy")
    if text is None:
        return
    try:
        resource_policy_of("key policy", json.loads(text))
    except UnknownOperator as error:
        raise MalformedKeyPolicy(f"localaws does not evaluate the condition operator {error}.") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise MalformedKeyPolicy(f"The new key policy is not a policy: {error}") from None
