"""How each service says that a request's values are not as its model wants them: code, sentence, status.

Sources: the common errors of each service's API reference (Lambda: docs.aws.amazon.com/lambda/latest/api/CommonErrors,
`ValidationError`s of Query: docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html, EC2:
docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html, S3: docs.aws.amazon.com/AmazonS3/latest/API/
ErrorResponses.html); CloudWatch Logs and tagging: InvalidParameterException in their operations' errors.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from localaws.errors import AwsError
from localaws.inputs.constraints import Style, violations_in
from localaws.inputs.types import NotOfItsType, check_type
from localaws.permissions.operations import Asked, model_of
from localaws.permissions.parameters import wire_name

OUTSIDE_THE_BODY = ("uri", "querystring", "header")
_OF_TYPE = {"ec2": "InvalidParameterValue", "iam": "MalformedInput", "sts": "MalformedInput", "s3": "InvalidArgument"}
_OF_CONSTRAINT = {
    "iam": "ValidationError",
    "logs": "InvalidParameterException",
    "monitoring": "ValidationError",
    "sts": "ValidationError",
    "tagging": "InvalidParameterException",
}
_STYLES = {
    "iam": Style(is_collective=False),
    "lambda": Style(tells_null=True, unchecked=("Runtime",)),
    "monitoring": Style(is_collective=False),
    "sts": Style(is_collective=False),
}
_EC2_UNCHECKED = ("InstanceType", "InstanceTypes")  # launches tell AWS's own words
_S3_ENCODING = "Invalid Encoding Method specified in Request"


def check_types(asked: Asked) -> None:
    """Refuse values that are of other types than the model's.

    Raises:
        AwsError: SerializationException, or what the service has in its place.
        UnknownOperation: there is no such operation.
    """
    operation = asked.operation
    shape = model_of(operation).input_shape
    for name, value in operation.parameters.items():
        member = shape.members[name]
        if value is None or (member.type_name == "string" and type(value) is str):
            continue
        is_text = asked.is_form or member.serialization.get("location") in OUTSIDE_THE_BODY
        try:
            check_type(member, value, name, is_text=is_text)
        except NotOfItsType as error:
            code = _OF_TYPE.get(operation.service, "MalformedInput" if asked.is_form else "SerializationException")
            raise AwsError(code, f"{error.path}: {error}" if is_text else str(error)) from None


def check_constraints(asked: Asked) -> None:
    """Refuse values that break the model's constraints.

    Raises:
        AwsError: the service's error, which tells each violation.
        UnknownOperation: there is no such operation.
    """
    operation = asked.operation
    shape = model_of(operation).input_shape
    if shape is None:
        return
    if operation.service == "ec2":
        _check_ec2(shape, operation.parameters)
    elif operation.service == "s3":
        _check_s3(shape, operation.parameters)
    elif found := violations_in(shape, operation.parameters, _STYLES.get(operation.service, Style())):
        raise AwsError(_OF_CONSTRAINT.get(operation.service, "ValidationException"), told(found))


def told(violations: Sequence[str]) -> str:
    """Return AWS's message for the violations of a request."""
    noun = "error" if len(violations) == 1 else "errors"
    return f"{len(violations)} validation {noun} detected: {'; '.join(violations)}"


def _check_ec2(shape: Any, parameters: Any) -> None:
    for name in shape.required_members:
        if parameters.get(name) is None:
            text = f"The request must contain the parameter {wire_name(name, shape.members[name], is_ec2=True)}"
            raise AwsError("MissingParameter", text)
    for name, member in shape.members.items():
        allowed, value = member.metadata.get("enum"), parameters.get(name)
        if allowed and value is not None and value not in allowed and name not in _EC2_UNCHECKED:
            raise AwsError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")


def _check_s3(shape: Any, parameters: Any) -> None:
    for name, allowed in _chosen_in_query(shape).items():
        value = parameters.get(name)
        if value is not None and value not in allowed:
            raise AwsError("InvalidArgument", _S3_ENCODING if name == "EncodingType" else f"Invalid {name}: {value}")


@functools.cache
def _chosen_in_query(shape: Any) -> Mapping[str, Sequence[str]]:
    """Return the values that members in the query may have, where the model lists them."""
    in_query = {
        name: each.metadata.get("enum")
        for name, each in shape.members.items()
        if each.serialization.get("location") == "querystring"
    }
    return {name: allowed for name, allowed in in_query.items() if allowed}
