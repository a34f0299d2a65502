"""What IAM's questions need of moto's stores: ARNs of identities by name, a profile's role, tags and boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localaws.permissions.asking import Place

_KEEPING_TAGS = {"cloudwatch", "lambda", "logs", "sagemaker", "ssm"}
_KEPT_BY_NAME = {"user": "users", "group": "groups"}
_KEPT_BY_ID = {"role": "roles", "instance-profile": "instance_profiles"}


def identity(place: Place, kind: str, name: str) -> Any | None:
    """Return moto's role, user, group or instance profile of a name, None if there is none."""
    backend = _iam(place.account_id, place.partition)
    if kind in _KEPT_BY_NAME:
        return getattr(backend, _KEPT_BY_NAME[kind]).get(name)
    if kind not in _KEPT_BY_ID:
        return None
    return next((each for each in list(getattr(backend, _KEPT_BY_ID[kind]).values()) if each.name == name), None)


def profile(place: Place, given: Mapping[str, Any]) -> Any | None:
    """Return moto's instance profile that a request names by `Name` or `Arn`, None if there is none."""
    name = given.get("Name") or str(given.get("Arn", "")).rpartition("/")[2]
    return identity(place, "instance-profile", str(name))


def boundary_of(arn: str, partition: str) -> str | None:
    """Return the ARN of the permissions boundary of a role or user, None if it has none."""
    return getattr(_of_arn(arn, partition), "permissions_boundary_arn", None)


def subnet_vpc(place: Place, subnet_id: str) -> str:
    """Return the id of a subnet's VPC, empty if there is no such subnet."""
    from moto.ec2.models import ec2_backends

    zones = ec2_backends[place.account_id][place.region].subnets.values()
    return next((str(zone[subnet_id].vpc_id) for zone in list(zones) if subnet_id in zone), "")


def tags_of(arn: str, place: Place) -> Mapping[str, str]:
    """Return the tags of a resource, none of one that does not exist or whose tags are not kept by its ARN."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return {}
    service, account_id = parts[2], parts[4] or place.account_id
    if service == "iam":
        return _identity_tags(_of_arn(arn, place.partition), account_id, place.partition)
    if service == "ec2":
        return _ec2_tags(account_id, parts[3] or place.region, parts[5].rpartition("/")[2])
    if service == "s3":
        return _s3_tags(arn, place)
    return _kept_tags(arn, service, account_id, parts[3] or place.region)


def _kept_tags(arn: str, service: str, account_id: str, region: str) -> Mapping[str, str]:
    if service not in _KEEPING_TAGS:
        return {}
    from moto import backends

    find: Any = backends.get_backend
    backend = find(service)[account_id][region]
    wanted = {_bare(arn, service), arn.lower()}
    return next((each.tags for each in backend.iter_tagged_resources() if each.arn.lower() in wanted), {})


def _bare(arn: str, service: str) -> str:
    """Return the ARN under which tags are kept: of the log group of a stream, of the function of an alias."""
    if service == "logs":
        return arn.partition(":log-stream:")[0].lower()
    return ":".join(arn.split(":")[:7]).lower() if service == "lambda" else arn.lower()


def _ec2_tags(account_id: str, region: str, resource_id: str) -> Mapping[str, str]:
    from moto.ec2.models import ec2_backends

    return dict(ec2_backends[account_id][region].tags.get(resource_id, {}))


def _s3_tags(arn: str, place: Place) -> Mapping[str, str]:
    from moto.s3.models import s3_backends

    backend: Any = s3_backends[place.account_id][place.partition]
    bucket, _, key_name = arn.split(":", 5)[5].partition("/")
    if bucket not in backend.buckets:
        return {}
    kept = backend.get_object(bucket, key_name) if key_name else backend.buckets[bucket]
    return dict(backend.tagger.get_tag_dict_for_resource(kept.arn)) if kept is not None else {}


def _identity_tags(found: Any, account_id: str, partition: str) -> Mapping[str, str]:
    """Return the tags that moto keeps in three ways: a list, by key, or beside the user."""
    if found is None:
        return {}
    if type(found).__name__ == "User":
        return dict(_iam(account_id, partition).tagger.get_tag_dict_for_resource(found.arn))
    tags = found.tags or []
    return {each["Key"]: each["Value"] for each in (tags.values() if isinstance(tags, dict) else tags)}


def _of_arn(arn: str, partition: str) -> Any | None:
    parts = arn.split(":", 5)
    kind, _, path = parts[5].partition("/") if len(parts) == 6 else ("", "", "")
    if kind == "policy":
        return _iam(parts[4], partition).managed_policies.get(arn)
    found = identity(Place(parts[4], "", partition), kind, path.rpartition("/")[2]) if kind else None
    return found if found is not None and found.arn == arn else None


def _iam(account_id: str, partition: str) -> Any:
    from moto.iam.models import iam_backends

    return iam_backends[account_id][partition]
