"""EC2's requests: what a launch touches, and tags that are given as something is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localaws.image_reference import PREFIX, parameter_name
from localaws.permissions import stored
from localaws.permissions.asking import Place, Resource, Wanted
from localaws.permissions.operations import Operation
from localaws.permissions.parameters import items_of, structures_of
from localaws.permissions.resources import filled, named, public

RUN, TAG = "ec2:RunInstances", "ec2:CreateTags"
_NEW = "*"
_TAGGING = {"CreateTags", "DeleteTags"}
_IDS = {"fl": "vpc-flow-log", "nat": "natgateway", "acl": "network-acl", "eipalloc": "elastic-ip", "key": "key-pair"}


def launch(operation: Operation, place: Place) -> Iterator[Wanted]:
    """Return what RunInstances needs: one question for each resource, `*` for what does not exist yet."""
    given = operation.parameters
    interfaces = structures_of(given.get("NetworkInterfaces"))
    image_id = str(given.get("ImageId") or "")
    reference = image_id if image_id.startswith(PREFIX) else None
    subnets = [*named(given, "ec2", "SubnetId"), *_each(interfaces, "SubnetId")]
    groups = [*named(given, "ec2", "SecurityGroupId"), *_groups(interfaces)]
    for kind, variable, every in (
        ("image", "ImageId", [] if reference else named(given, "ec2", "ImageId")),
        ("instance", "InstanceId", [_NEW]),
        ("network-interface", "NetworkInterfaceId", _each(interfaces, "NetworkInterfaceId")),
        ("security-group", "SecurityGroupId", groups or stored.default_groups(place, subnets)),
        ("subnet", "SubnetId", subnets),
        ("volume", "VolumeId", [_NEW]),
        ("key-pair", "KeyPairName", named(given, "ec2", "KeyPairName") or [""]),
    ):
        yield from (Wanted(RUN, filled("ec2", kind, {variable: each}, place)) for each in every or [_NEW] if each)
    if reference:
        name = parameter_name(reference).partition(":")[0].lstrip("/")
        parameter = filled("ssm", "parameter", {"ParameterNameWithoutLeadingSlash": name}, place)
        yield Wanted("ssm:GetParameters", public(parameter, place))


def tagged(operation: Operation, asked: list[Wanted], place: Place) -> Iterator[Wanted]:
    """Return what tags in `TagSpecifications` need, on what is made: its ARN if the request names it, else its type."""
    by_kind = {each.resource.kind: each.resource for each in asked}
    values = {"ec2:createaction": [operation.name]}
    for each in specifications(operation.parameters):
        kind = str(each.get("ResourceType", ""))
        if each.get("Tags") and kind:
            yield Wanted(TAG, by_kind.get(kind) or Resource(kind, place.arn("ec2", f"{kind}/*")), values)


def tagging(operation: Operation, place: Place) -> Iterator[Wanted]:
    """Return what CreateTags and DeleteTags need: a question for each id, whose beginning tells its type."""
    for each in items_of(operation.parameters.get("Resources")) or [_NEW]:
        kind = _kind(str(each))
        name = stored.key_name(place, str(each)) or each if kind == "key-pair" else each
        yield Wanted(f"ec2:{operation.name}", Resource(kind, place.arn("ec2", f"{kind}/{name}")))


def is_tagging(operation: Operation) -> bool:
    """Return whether the operation's resources are ids of any type."""
    return operation.name in _TAGGING


def specifications(parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the tags of a request by the type of resource that they are for."""
    return structures_of(parameters.get("TagSpecifications") or parameters.get("TagSpecification"))


def _kind(resource_id: str) -> str:
    from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE

    prefix = resource_id.rpartition("-")[0]
    return _IDS.get(prefix) or str(EC2_PREFIX_TO_RESOURCE.get(prefix, "*"))


def _each(given: list[Mapping[str, Any]], name: str) -> list[str]:
    return [str(each[name]) for each in given if each.get(name)]


def _groups(interfaces: list[Mapping[str, Any]]) -> list[str]:
    return [str(group) for each in interfaces for group in items_of(each.get("Groups"))]
