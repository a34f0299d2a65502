"""EC2's resources that a request names otherwise than their ARNs do, which have ids of groups and names of keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from localaws.permissions import stored
from localaws.permissions.asking import Place
from localaws.permissions.operations import Operation
from localaws.permissions.parameters import items_of

_NEW_GROUP = "CreateSecurityGroup"
_UNKNOWN = "*"  # nothing of that name exists, and the operation fails for it


def as_arns_do(operation: Operation, place: Place) -> Operation:
    """Return the operation with the ids of security groups that it names, and the names of key pairs by their id."""
    given = operation.parameters
    more: dict[str, Any] = {}
    if names := _group_names(operation):
        ids = [each for name in names for each in stored.group_ids(place, name) or [_UNKNOWN]]
        more["GroupIds"] = [*items_of(given.get("GroupIds")), *ids]
    if key_id := given.get("KeyPairId"):
        more["KeyNames"] = [stored.key_name(place, str(key_id)) or _UNKNOWN]
    if (template := given.get("LaunchTemplateName")) and operation.name != "CreateLaunchTemplate":
        more["LaunchTemplateIds"] = [stored.template_id(place, str(template)) or _UNKNOWN]
    return replace(operation, parameters={**given, **more}) if more else operation


def _group_names(operation: Operation) -> list[str]:
    if operation.name == "RunInstances":
        return [str(each) for each in items_of(operation.parameters.get("SecurityGroups"))]
    is_of_groups = "SecurityGroup" in operation.name and operation.name != _NEW_GROUP
    name = operation.parameters.get("GroupName")
    return [str(name)] if is_of_groups and name else []
