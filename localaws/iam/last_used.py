"""When roles and access keys were used last, by every route: told to moto before IAM answers."""

from typing import Any

from moto.iam.models import AccessKeyLastUsed, iam_backends

from localaws.partition import partition
from localaws.permissions.authority import Authority


def tell_last_used(authority: Authority) -> None:
    """Give moto's roles and access keys the moment, service and region of their last request."""
    backend: Any = iam_backends[authority.account_id][partition()]
    for role in list(backend.roles.values()):
        last = authority.usage.last_of(role.arn)
        if last is not None:
            role.last_used, role.last_used_region = last.at, last.region
    for key_id, used in authority.usage.keys().items():
        key = backend.access_keys.get(key_id)
        if key is not None:
            key.last_used = AccessKeyLastUsed(timestamp=used.at, service=used.service, region=used.region)
