"""The ARNs on which CloudWatch Logs decides: of a stream, whose name may be empty; tags are the log group's."""

from __future__ import annotations

from localaws.permissions.asking import Place, Resource
from localaws.permissions.catalog import Action
from localaws.permissions.operations import Operation
from localaws.permissions.resources import resources_of

_GROUP, _STREAM = "log-group", "log-stream"
_NAMES = ("logGroupName", "logGroupIdentifier", "logGroupNames", "logGroupIdentifiers")
_OF_EVERY_GROUP = {"DescribeLogGroups"}
_TAGS_OF_A_GROUP = {"TagLogGroup", "UntagLogGroup", "ListTagsLogGroup"}


def logs_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action of CloudWatch Logs."""
    kinds = {each.kind for each in action.uses}
    if "resourceArn" in operation.parameters:
        return [tagged_log(each) for each in resources_of(operation, action, place)]
    if not kinds & {_GROUP, _STREAM} and operation.name not in _OF_EVERY_GROUP:
        return resources_of(operation, action, place)
    stream = operation.parameters.get("logStreamName")
    end = f":{_STREAM}:{stream if isinstance(stream, str) else ''}"
    end = "" if operation.name in _TAGS_OF_A_GROUP else end
    kind = _STREAM if _STREAM in kinds else _GROUP
    return [Resource(kind, place.arn("logs", f"{_GROUP}:{each}{end}")) for each in _groups(operation)]


def tagged_log(resource: Resource) -> Resource:
    """Return the log group of a stream or of an ARN that ends in `:*`, as tagging decides on it."""
    group = resource.arn.partition(f":{_STREAM}:")[0].removesuffix(":*")
    return Resource(_GROUP if resource.kind == _STREAM else resource.kind, group)


def _groups(operation: Operation) -> list[str]:
    """Return the names of all log groups that are meant, one empty name if none is."""
    if operation.name in _OF_EVERY_GROUP:
        return [""]
    given = [found for name in _NAMES if (found := operation.parameters.get(name))]
    every = [str(each) for found in given for each in (found if isinstance(found, list) else [found])]
    return [_bare(each) for each in every] or [""]


def _bare(identifier: str) -> str:
    return identifier.split(":")[6] if identifier.startswith("arn:") and identifier.count(":") > 5 else identifier
