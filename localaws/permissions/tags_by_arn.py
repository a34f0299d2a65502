"""The Resource Groups Tagging API, which tags in its caller's name: the resource's own service has to allow it too.

Refused is the whole request; AWS tells of each resource that it did not tag.
Source: https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_TagResources.html
"""

from __future__ import annotations

from collections.abc import Iterator

from localaws.permissions import catalog
from localaws.permissions.asking import Wanted
from localaws.permissions.operations import Operation
from localaws.permissions.parameters import items_of
from localaws.permissions.reduced import Elsewhere
from localaws.permissions.resources import of_arn

_NAMES = {"TagResources": 0, "UntagResources": 1}
_ACTIONS = {  # by the service in the ARN: what tags and what takes tags away; the others have _USUAL
    "ec2": ("CreateTags", "DeleteTags"),
    "s3": ("PutBucketTagging", "PutBucketTagging"),
    "sagemaker": ("AddTags", "DeleteTags"),
    "ssm": ("AddTagsToResource", "RemoveTagsFromResource"),
}
_USUAL = ("TagResource", "UntagResource")


def tagged_by_arn(operation: Operation) -> Iterator[Wanted]:
    """Return what a request needs of the services whose resources it tags.

    Raises:
        Elsewhere: an ARN is no resource of a service that localaws has.
        AwsError: ValidationException, one is no ARN.
    """
    if operation.service != "tagging" or operation.name not in _NAMES:
        return
    for each in items_of(operation.parameters.get("ResourceARNList")):
        prefix = (str(each).split(":") + [""] * 3)[2]
        action = _ACTIONS.get(prefix, _USUAL)[_NAMES[operation.name]]
        if catalog.find(f"{prefix}:{action}") is None:
            raise Elsewhere(str(each), "is of no service whose tags localaws has")
        yield Wanted(f"{prefix}:{action}", of_arn(prefix, str(each)))
