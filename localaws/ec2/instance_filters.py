"""The filters of DescribeInstances and DescribeInstanceStatus, with AWS's wildcards."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from localaws.ec2.errors import invalid
from localaws.policies.patterns import matches_pattern

Values = Callable[[Any], Sequence[Any]]


def _one(value: Callable[[Any], Any]) -> Values:
    return lambda instance: (value(instance),)


_VALUES: Mapping[str, Values] = {
    "architecture": _one(lambda instance: instance.architecture),
    "availability-zone": _one(lambda instance: instance.availability_zone),
    "client-token": _one(lambda instance: instance.client_token),
    "iam-instance-profile.arn": _one(lambda instance: (instance.iam_instance_profile or {}).get("Arn")),
    "image-id": _one(lambda instance: instance.image_id),
    "instance-id": _one(lambda instance: instance.id),
    "instance-lifecycle": _one(lambda instance: instance.lifecycle),
    "instance-state-code": _one(lambda instance: instance.state_code),
    "instance-state-name": _one(lambda instance: instance.state),
    "instance-status.status": _one(lambda instance: instance.instance_status["Status"]),
    "instance-type": _one(lambda instance: instance.instance_type),
    "instance.group-id": lambda instance: [group.id for group in instance.security_groups],
    "instance.group-name": lambda instance: [group.name for group in instance.security_groups],
    "ip-address": _one(lambda instance: instance.public_ip),
    "key-name": _one(lambda instance: instance.key_name),
    "owner-id": _one(lambda instance: instance.owner_id),
    "private-dns-name": _one(lambda instance: instance.private_dns_name),
    "private-ip-address": _one(lambda instance: instance.private_ip),
    "state-reason-code": _one(lambda instance: instance.state_reason.code),
    "subnet-id": _one(lambda instance: instance.subnet_id),
    "system-status.status": _one(lambda instance: instance.system_status["Status"]),
    "tag-key": lambda instance: [tag["key"] for tag in instance.get_tags()],
    "vpc-id": _one(lambda instance: instance.vpc_id),
}


def check_names(filters: Iterable[str]) -> None:
    """Refuse filters that are not known here.

    Raises: AwsError InvalidParameterValue.
    """
    for name in filters:
        if not name.startswith("tag:") and name not in _VALUES:
            raise invalid(f"The filter '{name}' is invalid (localaws has: tag:KEY, {', '.join(_VALUES)})")


def matches(instance: Any, filters: Mapping[str, Sequence[str]]) -> bool:
    """Return whether an instance has, for every filter, one of its values; the names have been checked."""
    return all(
        any(matches_pattern(pattern, str(value)) for pattern in patterns for value in _values(instance, name))
        for name, patterns in filters.items()
    )


def _values(instance: Any, name: str) -> list[Any]:
    if name.startswith("tag:"):
        found: Sequence[Any] = [tag["value"] for tag in instance.get_tags() if tag["key"] == name[len("tag:") :]]
    else:
        found = _VALUES[name](instance)
    return [value for value in found if value is not None]
