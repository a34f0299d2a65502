"""S3 where moto's answer would mislead: bucket policies with conditions, and ExpectedBucketOwner.

moto reads a statement whose condition does *not* hold as a denial, so a TLS-only policy would lock the owner out. Here
a statement applies only when its condition holds; a request over loopback counts as secure transport (docs/fidelity.md).
Conditions other than `Bool aws:SecureTransport` are refused when the policy is put. Owners are compared with the one
account that this server has.
"""

import json
from typing import Any

from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket, S3Backend, s3_backends
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from localaws.core import Core

_OWNER_HEADER = b"x-amz-expected-bucket-owner"
_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


class UnsupportedCondition(S3ClientError):  # noqa: N818 named as moto names its own
    """The policy has a condition that this server would not evaluate."""

    def __init__(self, condition: Any) -> None:
        message = f"localaws does not evaluate the bucket policy condition {json.dumps(condition)}"
        super().__init__("MalformedPolicy", message)


class Bucket(FakeBucket):
    """A bucket whose policy statements apply only when their conditions hold."""

    def get_permission(self, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        results = {
            IAMPolicyStatement({**statement, "Condition": None}).is_action_permitted(action, resource)
            for statement in statements(self.policy)
            if _holds(statement)
        }
        for result in (PermissionResult.DENIED, PermissionResult.PERMITTED):
            if result in results:
                return result
        return PermissionResult.NEUTRAL


class Buckets(S3Backend):
    """moto's S3 with `Bucket`s."""

    def create_bucket(self, bucket_name: str, *args: Any, **kwargs: Any) -> FakeBucket:
        made = super().create_bucket(bucket_name, *args, **kwargs)
        # moto names its class inline; nothing but one method differs
        made.__class__ = Bucket  # type: ignore[type-abstract]
        return made

    def put_bucket_policy(self, bucket_name: str, policy: bytes) -> None:
        for statement in statements(policy):
            if statement.get("Condition") and _secure_transport(statement) is None:
                raise UnsupportedCondition(statement["Condition"])
        super().put_bucket_policy(bucket_name, policy)


Buckets.__module__ = "moto.s3.models"  # moto finds a backend's urls by its module


def install(_core: Core) -> list[BaseRoute]:
    """Have moto make its S3 backends from `Buckets`; no routes."""
    s3_backends.backend = Buckets
    return []


def wrong_owner(scope: Scope, account_id: str) -> Response | None:
    """Return AWS's refusal when a request names another owner of the bucket than `account_id`, else None."""
    for name, value in scope["headers"]:
        if name == _OWNER_HEADER and value.decode("latin1") != account_id:
            return Response(_DENIED, status_code=403, media_type="application/xml")
    return None


def statements(policy: bytes | str) -> list[dict[str, Any]]:
    """Return a policy's statements, which AWS allows to be one object or a list."""
    found = json.loads(policy)["Statement"]
    return found if isinstance(found, list) else [found]


def _holds(statement: dict[str, Any]) -> bool:
    """Loopback is secure transport: "false" never holds, "true" always."""
    return not statement.get("Condition") or _secure_transport(statement) == "true"


def _secure_transport(statement: dict[str, Any]) -> str | None:
    condition = statement["Condition"]
    if list(condition) != ["Bool"] or list(condition["Bool"]) != ["aws:SecureTransport"]:
        return None
    value = condition["Bool"]["aws:SecureTransport"]
    return str(value[0] if isinstance(value, list) else value).lower()
