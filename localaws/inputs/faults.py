"""Answers what a request gave that moto cannot use: a token of no page, the name of nothing, a text that is no number.

moto numbers pages, looks names up and reads numbers without asking whether they are there; what it raises then is a
client's fault, which AWS answers with 4xx. Anything else that it raises is a fault of the server's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from localaws.errors import AwsError
from localaws.paging import QUOTED, invalid_token
from localaws.permissions.operations import Asked, UnknownOperation, model_of
from localaws.violations import one_violation

_TOKENS = ("NextToken", "nextToken", "Marker", "ContinuationToken", "PaginationToken")
_OF_READING = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # what a token leads moto to
_OF_VALUES = {"ec2": "InvalidParameterValue", "logs": "InvalidParameterException"}
_MOTO = "/site-packages/moto/"
_OF_NAMES = {
    "ec2": "InvalidParameterValue",
    "iam": "NoSuchEntity",
    "lambda": "ResourceNotFoundException",
    "logs": "ResourceNotFoundException",
    "monitoring": "ResourceNotFound",
    "sagemaker": "ResourceNotFound",
    "ssm": "DoesNotExistException",
}


def refusal_of(error: Exception, asked: Asked) -> AwsError | None:
    """Return the service's answer to what the request gave wrong; None if the request is not to blame."""
    try:
        parameters = asked.operation.parameters
        members = set(_member_names(model_of(asked.operation).input_shape))
    except UnknownOperation:
        return None
    token = next((parameters[name] for name in _TOKENS if parameters.get(name)), None)
    if token is not None and isinstance(error, _OF_READING):
        return invalid_token(asked.service, token)
    unread = next((each for each in _texts(parameters) if repr(each)[:QUOTED] in str(error)), None)
    if isinstance(error, ValueError) and unread is not None:
        return AwsError(_OF_VALUES.get(asked.service, "ValidationException"), f"Value ({unread}) is invalid: {error}")
    if why := _misread_by_moto(error):
        return AwsError(_OF_VALUES.get(asked.service, "ValidationException"), why)
    if not isinstance(error, KeyError) or not error.args:
        return None
    key = error.args[0]
    if key is None:
        return AwsError("ValidationException", "A parameter that the operation needs is not given.")
    if not isinstance(key, str):
        return None
    if any(key == each or key.endswith((f"/{each}", f":{each}")) for each in _texts(parameters)):
        return AwsError(_OF_NAMES.get(asked.service, "ValidationException"), f"{key} does not exist.")
    if key in members:
        return AwsError("ValidationException", one_violation(None, key, "Member must not be null"))
    return None


def _misread_by_moto(error: Exception) -> str | None:
    """Return what moto, and no code of ours, met: a parameter that it needs and that is missing, or a malformed one."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or _MOTO not in place.tb_frame.f_code.co_filename:
        return None
    if isinstance(error, TypeError | AttributeError) and "NoneType" in str(error):
        return "A parameter that the operation needs is not given."
    if isinstance(error, ValueError) and "to unpack" in str(error):
        return "A value that was given has not the form that the operation needs."
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def _member_names(shape: Any, depth: int = 0) -> Iterator[str]:
    if shape is None or depth > 3:
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield name
            yield from _member_names(member, depth + 1)
    elif shape.type_name == "list":
        yield from _member_names(shape.member, depth + 1)
