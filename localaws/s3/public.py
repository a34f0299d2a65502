"""Says which objects anyone may read without a signature: by the bucket's policy, or by the object's ACL."""

from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from localaws.permissions.circumstances import HERE, time_of
from localaws.policies.context import Context
from localaws.policies.decision import ALLOWED, ANYONE, EXPLICIT_DENY, Identity, Request, decide
from localaws.policies.documents import policy

_PARAMETERS = {"x-id"}  # a version is another permission, and what a response_ parameter changes needs a signature


def bucket_of(host: str) -> str:
    """Return the bucket that a Host header names, empty if the path names it."""
    from moto.s3.responses import S3Response
    from moto.s3.utils import bucket_name_from_url

    asked = SimpleNamespace(headers={"host": host}, url=f"http://{host}/")
    return str(bucket_name_from_url(asked.url)) if S3Response.subdomain_based_buckets(asked) else ""


def may_anyone_read(account_id: str, host: str, path: str, query: str) -> bool:
    """Return whether GET and HEAD of this are open to everyone. `path` and `query` are percent-encoded."""
    if path.startswith("//") or not {each.partition("=")[0] for each in query.split("&") if each} <= _PARAMETERS:
        return False
    named = bucket_of(host)
    bucket_name, _, key_name = (f"{named}{path}" if named else path.lstrip("/")).partition("/")
    return bool(key_name) and _is_public(account_id, bucket_name, unquote(key_name))


def _is_public(account_id: str, bucket_name: str, key_name: str) -> bool:
    from moto.s3.models import s3_backends

    backend = s3_backends[account_id]["aws"]
    bucket: Any = backend.buckets.get(bucket_name)
    key = backend.get_object(bucket_name, key_name) if bucket is not None else None
    if key is None:
        return False
    blocked: Any = bucket.public_access_block
    effect = _effect(bucket, f"arn:aws:s3:::{bucket_name}/{key_name}")
    if effect == EXPLICIT_DENY:
        return False
    if effect == ALLOWED and not (blocked and blocked.restrict_public_buckets):
        return True
    return bool(key.acl and key.acl.public_read) and not (blocked and blocked.ignore_public_acls)


def _effect(bucket: Any, resource: str) -> str:
    if bucket.policy is None:
        return ""
    request = Request("s3:GetObject", resource, Context(HERE, (time_of,)))
    return decide(ANYONE, Identity(), request, policy("bucket policy", bytes(bucket.policy).decode())).effect
