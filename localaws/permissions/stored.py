"""What IAM's questions need of moto's stores: ARNs of identities by name, a profile's role, tags and boundaries."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from localaws.permissions.asking import Place, Resource
from localaws.policies.patterns import ARN_PARTS

_KEEPING_TAGS = {"cloudwatch", "kms", "lambda", "logs", "sagemaker", "ssm"}
_KEPT_BY_NAME = {"user": "users", "group": "groups"}
_KEPT_BY_ID = {"role": "roles", "instance-profile": "instance_profiles"}


def identity(place: Place, kind: str, name: str) -> Any | None:
    """Return moto's role, user, group or instance profile of a name, None if there is none."""
    backend = _iam(place)
    if kind in _KEPT_BY_NAME:
        return getattr(backend, _KEPT_BY_NAME[kind]).get(name)
    if kind not in _KEPT_BY_ID:
        return None
    return next((each for each in list(getattr(backend, _KEPT_BY_ID[kind]).values()) if each.name == name), None)


def profiles(place: Place, given: Mapping[str, Any]) -> list[Any]:
    """Return moto's instance profiles that a request names by `Name` and by `Arn`, none that do not exist."""
    by_name = identity(place, "instance-profile", str(given.get("Name", "")))
    by_arn = _of_arn(str(given.get("Arn", "")), place)
    return [each for each in (by_name, by_arn) if each is not None]


def group_ids(place: Place, name: str) -> list[str]:
    """Return the ids of the security groups of a name, in whichever VPC."""
    every = [each for groups in list(_ec2(place).groups.values()) for each in list(groups.values())]
    return [str(each.id) for each in every if each.name == name]


def default_groups(place: Place, subnet_ids: list[str]) -> list[str]:
    """Return the ids of the default security groups of the subnets' VPCs, of the default VPC's for no subnet."""
    default = getattr(_ec2(place).get_default_vpc(), "id", "")
    vpcs = {subnet_vpc(place, each) for each in subnet_ids} or {default}
    every = [each for vpc in sorted(vpcs) for each in list(_ec2(place).groups.get(vpc, {}).values())]
    return [str(each.id) for each in every if each.is_default]


def key_name(place: Place, key_id: str) -> str | None:
    """Return the name of the key pair of an id, None if there is none."""
    return next((str(each.key_name) for each in list(_ec2(place).key_pairs.values()) if each.id == key_id), None)


def template_id(place: Place, name: str) -> str | None:
    """Return the id of the launch template of a name, None if there is none."""
    found = _ec2(place).launch_template_name_to_ids.get(name)
    return None if found is None else str(found)


def owner_of_key(place: Place, access_key_id: str) -> Any | None:
    """Return moto's user that has an access key, None if there is none."""
    every = list(_iam(place).users.values())
    return next((each for each in every if each.has_access_key(access_key_id)), None)


def boundary_of(arn: str, place: Place) -> str | None:
    """Return the ARN of the permissions boundary of a role or user, None if it has none."""
    return getattr(_of_arn(arn, place), "permissions_boundary_arn", None)


def subnet_vpc(place: Place, subnet_id: str) -> str:
    """Return the id of a subnet's VPC, empty if there is no such subnet."""
    zones = _ec2(place).subnets.values()
    return next((str(zone[subnet_id].vpc_id) for zone in list(zones) if subnet_id in zone), "")


def tags_of(resource: Resource, place: Place) -> Mapping[str, str]:
    """Return the tags of a resource, none of one that does not exist here or whose tags are not kept by its ARN.

    Each version of an object has its own; without one the newest counts.
    """
    arn = resource.arn
    parts = arn.split(":", 5)
    if len(parts) < ARN_PARTS or parts[3] not in ("", place.region) or parts[4] not in ("", place.account_id):
        return {}
    service = parts[2]
    if service == "iam":
        return _identity_tags(_of_arn(arn, place), place)
    if service == "ec2":
        return _ec2_tags(parts[5], place)
    if service == "budgets":
        return _budget_tags(parts[5], place)
    return _s3_tags(parts[5], resource.version, place) if service == "s3" else _kept_tags(arn, service, place)


def scalable_target_tags(arn: str, given: Mapping[str, Any], place: Place) -> Mapping[str, str]:
    """Return the tags of the scalable target of an ARN, or that a request names by its dimension and resource."""
    from moto.applicationautoscaling.models import applicationautoscaling_backends

    backend: Any = applicationautoscaling_backends[place.account_id][place.region]
    key = given.get("ScalableDimension"), given.get("ResourceId")
    every = list(backend.targets.values())
    return next((dict(each.tags) for each in every if each.arn == arn or each.key == key), {})


def _kept_tags(arn: str, service: str, place: Place) -> Mapping[str, str]:
    if service not in _KEEPING_TAGS:
        return {}
    from moto import backends

    find: Any = backends.get_backend
    wanted = {_bare(arn, service), arn.lower()}
    every = _tagged(find(service)[place.account_id][place.region])
    return next((tags for kept, tags in every if kept.lower() in wanted), {})


def _tagged(backend: Any) -> list[tuple[str, Mapping[str, str]]]:
    """Return ARNs and tags of all that moto keeps; read again if another thread changed it meanwhile."""
    while True:
        with contextlib.suppress(RuntimeError):
            every = list(backend.iter_tagged_resources())
            break
    # moto has a tuple of the ARN of an endpoint configuration
    return [(each.arn[0] if isinstance(each.arn, tuple) else each.arn, each.tags) for each in every]


def _bare(arn: str, service: str) -> str:
    """Return the ARN under which tags are kept: of the log group of a stream, of the function of an alias."""
    if service == "logs":
        return arn.partition(":log-stream:")[0].lower()
    return ":".join(arn.split(":")[:7]).lower() if service == "lambda" else arn.lower()


def _ec2_tags(path: str, place: Place) -> Mapping[str, str]:
    kind, _, resource_id = path.rpartition("/")
    pair = _ec2(place).key_pairs.get(resource_id) if kind == "key-pair" else None
    return dict(_ec2(place).tags.get(pair.id if pair is not None else resource_id, {}))


def _s3_tags(path: str, version: str, place: Place) -> Mapping[str, str]:
    from moto.s3.models import s3_backends

    backend: Any = s3_backends[place.account_id][place.partition]
    bucket, _, key_name = path.partition("/")
    if bucket not in backend.buckets:
        return {}
    kept = backend.get_object(bucket, key_name, version or None) if key_name else backend.buckets[bucket]
    return dict(backend.tagger.get_tag_dict_for_resource(kept.arn)) if kept is not None else {}


def _budget_tags(path: str, place: Place) -> Mapping[str, str]:
    from moto.budgets.models import budgets_backends

    found = (
        budgets_backends[place.account_id][place.partition].budgets[place.account_id].get(path.removeprefix("budget/"))
    )
    return {each["Key"]: each["Value"] for each in getattr(found, "tags", ())}


def _identity_tags(found: Any, place: Place) -> Mapping[str, str]:
    """Return the tags that moto keeps in three ways: a list, by key, or beside the user."""
    if found is None:
        return {}
    if type(found).__name__ == "User":
        return dict(_iam(place).tagger.get_tag_dict_for_resource(found.arn))
    tags = found.tags or []
    return {each["Key"]: each["Value"] for each in (tags.values() if isinstance(tags, dict) else tags)}


def _of_arn(arn: str, place: Place) -> Any | None:
    """Return moto's identity or managed policy of an ARN of this account, None if there is none."""
    start, _, path = arn.partition(f"::{place.account_id}:")
    kind, _, name = path.partition("/")
    if not start.endswith(":iam") or not name:
        return None
    if kind == "policy":
        return _iam(place).managed_policies.get(arn)
    found = identity(place, kind, name.rpartition("/")[2])
    return found if found is not None and found.arn == arn else None


def _ec2(place: Place) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[place.account_id][place.region]


def _iam(place: Place) -> Any:
    from moto.iam.models import iam_backends

    return iam_backends[place.account_id][place.partition]
