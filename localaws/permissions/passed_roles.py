"""`iam:PassRole`: the roles that a request hands to a service, and to which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localaws.permissions import stored
from localaws.permissions.asking import Place, Resource, Wanted
from localaws.permissions.identity_names import role
from localaws.permissions.operations import Operation

ACTION = "iam:PassRole"
_SAGEMAKER = ("RoleArn", "ExecutionRoleArn", "ExecutionRole")
_RECEIVERS = {  # by signing name: the parameters that are roles' ARNs, and who gets the role
    "application-autoscaling": (("RoleARN",), "application-autoscaling.amazonaws.com"),
    "lambda": (("Role",), "lambda.amazonaws.com"),
    "logs": (("roleArn",), "logs.amazonaws.com"),
    "sagemaker": (_SAGEMAKER, "sagemaker.amazonaws.com"),
    "ssm": (("ServiceRoleArn",), "ssm.amazonaws.com"),
}
_EC2, _PROFILE = "ec2.amazonaws.com", "IamInstanceProfile"
_READING = ("Describe", "List", "Get", "Delete", "Invoke", "Search")


def passed_in(operation: Operation, place: Place) -> Iterator[Wanted]:
    """Return the roles that a request passes.

    An instance profile's are moto's; one that does not exist has none, and the request fails for it.
    """
    if operation.service == "ec2":
        for each in _found(operation.parameters, (_PROFILE,)):
            found = stored.profiles(place, each) if isinstance(each, dict) else []
            yield from (_passed(role.arn, _EC2) for profile in found for role in profile.roles)
    elif operation.service == "iam" and operation.name == "AddRoleToInstanceProfile":
        yield _passed(role(str(operation.parameters.get("RoleName", "")), place).arn, _EC2)
    elif operation.service in _RECEIVERS and not operation.name.startswith(_READING):
        names, receiver = _RECEIVERS[operation.service]
        every = _found(operation.parameters, names)
        yield from (_passed(each, receiver) for each in every if isinstance(each, str) and each)


def _passed(arn: str, receiver: str) -> Wanted:
    return Wanted(ACTION, Resource("role", arn), {"iam:passedtoservice": [receiver]})


def _found(value: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """Return the values of these names at any depth."""
    if isinstance(value, list):
        for each in value:
            yield from _found(each, names)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if name in names:
                yield each
            elif isinstance(each, (dict, list)):
                yield from _found(each, names)
