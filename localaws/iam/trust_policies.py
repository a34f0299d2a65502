"""CreateRole and UpdateAssumeRolePolicy refuse a trust policy that is none, as AWS does; moto takes anything.

No policy of IAM's may have a name twice in an object; moto keeps the last of them.
"""

import json
from typing import Any

from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.models import IAMBackend
from moto.iam.policy_validation import BaseIAMPolicyValidator, IAMTrustPolicyDocumentValidator

from localaws.iam.principals import unknown_principals
from localaws.policies.documents import read_document, statements_of

_create_role = IAMBackend.create_role
_update = IAMBackend.update_assume_role_policy
_validate_syntax = BaseIAMPolicyValidator._validate_syntax


def check(backend: Any, text: str) -> None:
    """Check that a text is a trust policy whose principals exist.

    Raises:
        MalformedPolicyDocument: it is not; the message is AWS's.
    """
    IAMTrustPolicyDocumentValidator(text).validate()
    statements = statements_of(json.loads(text))
    if any("Principal" not in each and "NotPrincipal" not in each for each in statements):
        raise MalformedPolicyDocument("Missing required field Principal")
    for name in unknown_principals(backend, json.loads(text)):
        raise MalformedPolicyDocument(f'Invalid principal in policy: "AWS":"{name}"')


def create_role(self: IAMBackend, role_name: str, assume_role_policy_document: str, *others: Any, **more: Any) -> Any:
    """Make a role with a trust policy that was checked."""
    check(self, assume_role_policy_document)
    return _create_role(self, role_name, assume_role_policy_document, *others, **more)


def update_assume_role_policy(self: IAMBackend, role_name: str, policy_document: str) -> None:
    """Replace a role's trust policy by one that was checked."""
    self.get_role(role_name)
    check(self, policy_document)
    _update(self, role_name, policy_document)


def validate_syntax(self: BaseIAMPolicyValidator) -> None:
    """Refuse a document that moto refuses, or that has a name twice; whatever is raised is AWS's "Syntax errors"."""
    read_document(self._policy_document)
    _validate_syntax(self)


def install_trust_policies() -> None:
    """Put these in the place of moto's."""
    BaseIAMPolicyValidator._validate_syntax = validate_syntax  # type: ignore[method-assign]
    IAMBackend.create_role = create_role  # type: ignore[method-assign]
    IAMBackend.update_assume_role_policy = update_assume_role_policy  # type: ignore[method-assign]
