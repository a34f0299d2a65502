"""Checks a reply against the output shape of botocore's service model: required members, types, enumerations."""

from typing import Any

from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

# Required by the model, left out by AWS: a training job has no artifacts until it has a model, all names may exist, and
# a version in a model package group has no name (aws/sagemaker-python-sdk issue 5606).
ABSENT_ON_AWS = {
    ("DescribeTrainingJob", 'Missing required parameter in input: "ModelArtifacts"'),
    ("DescribeModelPackage", 'Missing required parameter in input: "ModelPackageName"'),
    ("GetParameters", "Invalid length for parameter InvalidParameters, value: 0, valid min length: 1"),
    ("GetParameterHistory", "Invalid length for parameter Parameters[0].Labels, value: 0, valid min length: 1"),
}


def check_reply(model: OperationModel, reply: dict[str, Any]) -> None:
    """Assert that a parsed reply is what the service model says.

    Raises:
        AssertionError: it names the operation and each member that is missing, mistyped or not in its enumeration.
    """
    if model.output_shape is None:
        return
    content = _undecoded(model.output_shape, {name: reply[name] for name in reply if name != "ResponseMetadata"})
    report = ParamValidator().validate(content, model.output_shape).generate_report()
    reported = [line for line in report.splitlines() if (model.name, line) not in ABSENT_ON_AWS]
    problems = [*reported, *_not_in_enumeration(model.output_shape, content, model.name)]
    assert not problems, f"{model.name} answered against its model: {'; '.join(problems)}"


def _undecoded(shape: Shape, value: Any) -> Any:
    """Put the text of policy documents back, which botocore hands out as dictionaries."""
    if shape.type_name == "string" and isinstance(value, dict):
        return str(value)
    if shape.type_name == "structure":
        return {name: _undecoded(shape.members[name], item) for name, item in value.items() if name in shape.members}
    if shape.type_name == "list":
        return [_undecoded(shape.member, item) for item in value]
    return value


def _not_in_enumeration(shape: Shape, value: Any, where: str) -> list[str]:
    if shape.type_name == "structure":
        members = [(shape.members[name], item, f"{where}.{name}") for name, item in value.items()]
    elif shape.type_name == "list":
        members = [(shape.member, item, f"{where}[{index}]") for index, item in enumerate(value)]
    elif shape.type_name == "map":
        members = [(shape.value, item, f"{where}[{key}]") for key, item in value.items()]
    else:
        allowed = getattr(shape, "enum", [])
        return [f"{where}={value!r} is not one of {allowed}"] if allowed and value not in allowed else []
    return [problem for member in members for problem in _not_in_enumeration(*member)]
