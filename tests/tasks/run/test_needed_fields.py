"""The table of what kennel needs in AWS's replies: it fits botocore's descriptions, and it is complete."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.model import OperationModel, Shape

from tasks.run.needed_fields import FORMS, NEEDED, NEEDED_WHEN, NOTHING_NEEDED, what_is_wrong
from tests.aws_requests import READING, service_model

TASKS = Path(__file__).resolve().parents[3] / "tasks"
SERVICES = (
    *("sts", "iam", "s3", "logs", "sagemaker", "sagemaker-runtime", "application-autoscaling", "cloudwatch"),
    "service-quotas",
    *("lambda", "kms", "ec2", "ssm", "pricing"),
)
NOT_OF_REPLIES = {"Rules", "Statement", "Sid", "Action", "Resource", "Environment", "Variables"}
"""Fields of what kennel itself sends."""
ONLY_WITH_ANOTHER = {
    *("FromPort", "ToPort", "IpProtocol", "CidrIp", "Ebs", "Ebs"),
    *("Error", "FunctionError", "Code", "Message", "Errors", "Body", "Payload"),
}
"""Fields of what AWS leaves out as a whole: a rule of a group, a mapping, an error; and bodies that are streamed."""
EXAMPLES: dict[str, Any] = {
    "string": "x", "integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True, "blob": b"x",
    "map": {}, "structure": {}, "list": [], "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
}  # fmt: skip
WRONG = object()
TAGS_NOT_READ = {
    *(f"ec2.Describe{each}" for each in ("Images", "RouteTables", "Subnets", "VpcEndpoints", "Vpcs")),
    "iam.ListInstanceProfiles",
    "iam.ListRoles",
}
"""Operations whose replies may have tags that nobody looks at."""
OF_A_FORM = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:role/x"}


def model_of(name: str) -> OperationModel:
    """Return an operation of the table, by its service and its own name."""
    service, _, operation = name.partition(".")
    return service_model(service).operation_model(operation)


def paths() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (operation, path, what the reply has besides) of the whole table."""
    yield from ((operation, path, {}) for operation, needed in NEEDED.items() for path in needed)
    for (operation, field, value), needed in NEEDED_WHEN.items():
        yield from ((operation, path, {field: value}) for path in needed)


def example(operation: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return a reply with everything that is needed."""
    reply: dict[str, Any] = dict(given)
    for each, path, when in paths():
        if each == operation and when.items() <= given.items():
            fill(reply, path, model_of(operation).output_shape)
    return reply


def fill(reply: dict[str, Any], path: str, shape: Any) -> None:
    name, below = step(path)
    member: Shape = shape.members[name]
    empty = EXAMPLES[member.type_name]
    found = reply.setdefault(name, type(empty)() if below else OF_A_FORM.get(name, empty))
    if below and member.type_name == "list":
        found.extend([] if found else [{}])
        fill(found[0], below, member.member)
    elif below:
        fill(found, below, member)


def step(path: str) -> tuple[str, str]:
    """Return the first name of a path and the rest."""
    here, _, below = path.partition(".")
    return here.rstrip("?").removesuffix("[]").removesuffix("[+]").partition("|")[0], below


def with_last(reply: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a reply in which the last field of a path has another value, or is missing if that is None."""
    name, below = step(path)
    if not below:
        return {key: each for key, each in (reply | {name: value}).items() if each is not None}
    inner = reply[name]
    changed = [with_last(inner[0], below, value)] if isinstance(inner, list) else with_last(inner, below, value)
    return {**reply, name: changed}


@pytest.mark.parametrize("value", [None, WRONG])
def test_each_needed_field_is_missed_and_each_of_a_wrong_type_is_noticed(value: Any) -> None:
    for operation, path, given in paths():
        reply, shape = example(operation, given), model_of(operation).output_shape
        assert what_is_wrong(operation, reply, shape) is None, operation
        name = path.rpartition(".")[2].split("|")[0].rstrip("?+[]")
        wrong = what_is_wrong(operation, with_last(reply, path, value), shape) or ""
        if value is None and path.endswith("?"):
            continue
        assert name in wrong, (operation, path)


def test_operations_of_one_name_are_told_apart_by_their_service() -> None:
    policy = {"Policy": "{}"}
    assert what_is_wrong("lambda.GetPolicy", policy, model_of("lambda.GetPolicy").output_shape) is None
    assert what_is_wrong("iam.GetPolicy", policy, model_of("iam.GetPolicy").output_shape) is not None


@pytest.mark.parametrize("value", [1, None, ["a"], {}])
def test_a_value_of_a_map_or_list_that_is_no_text_is_noticed(value: object) -> None:
    fields = {"logs.ListTagsForResource": "tags", "lambda.GetFunction": "Tags"}
    for operation, field in fields.items():
        reply, shape = example(operation, {}), model_of(operation).output_shape
        assert what_is_wrong(operation, {**reply, field: {"kennel:run": "r"}}, shape) is None
        assert what_is_wrong(operation, {**reply, field: {"kennel:run": value}}, shape), operation
    shape = model_of("iam.ListRolePolicies").output_shape
    assert what_is_wrong("iam.ListRolePolicies", {"PolicyNames": ["a", value]}, shape)


@pytest.mark.parametrize("value", ["", "../../x\n1", "12345678901", "123456789012\n", "１２３４５６７８９０１２"])
def test_an_account_that_is_not_12_digits_is_noticed(value: str) -> None:
    assert set(FORMS) == set(OF_A_FORM)
    wrong = what_is_wrong("sts.GetCallerIdentity", {"Account": value}, model_of("sts.GetCallerIdentity").output_shape)
    assert wrong in ("it lacks Account", f"its Account is {value!r}, not 12 digits")


@pytest.mark.parametrize("value", ["foo", "arn:", "arn::::x", "arn:aws:sts"])
def test_an_arn_that_is_none_is_noticed(value: str) -> None:
    reply = {"Account": "123456789012", "Arn": value}
    wrong = what_is_wrong("sts.GetCallerIdentity", reply, model_of("sts.GetCallerIdentity").output_shape)
    assert wrong == f"its Arn is {value!r}, not an ARN"


def test_a_count_or_duration_below_0_is_noticed() -> None:
    shape, operation = model_of("sagemaker.DescribeTrainingJob").output_shape, "sagemaker.DescribeTrainingJob"
    reply = example(operation, {})
    assert what_is_wrong(operation, {**reply, "BillableTimeInSeconds": 0}, shape) is None
    wrong = what_is_wrong(operation, {**reply, "BillableTimeInSeconds": -1}, shape)
    assert wrong == "its BillableTimeInSeconds is -1, which is below 0"


def test_the_tags_in_a_reply_that_is_read_have_all_their_fields() -> None:
    """Of the structures that a path of the table goes through; a tag's members have the same names everywhere."""
    read = {(operation, path) for operation, path, _ in paths() if operation.partition(".")[2].startswith(READING)}
    known = {(operation, re.sub(r"\[[+]?\]|\?", "", path)) for operation, path in read}
    wanted = {(operation, tag) for operation, path in read for tag in tags_beside(operation, path)}
    assert {(operation, tag) for operation, tag in wanted - known if operation not in TAGS_NOT_READ} == set()


def tags_beside(operation: str, path: str) -> Iterator[str]:
    """Yield the paths of the members of each list of tags in the structures that a path goes through."""
    shape, before = model_of(operation).output_shape, ""
    while path and shape.type_name == "structure":
        for name in {"Tags", "TagSet"} & set(shape.members):
            if shape.members[name].type_name == "list":
                yield from (f"{before}{name}.{field}" for field in ("Key", "Value"))
        name, path = step(path)
        shape, before = shape.members[name], f"{before}{name}."
        shape = shape.member if shape.type_name == "list" else shape


def test_a_reply_without_anything_is_noticed() -> None:
    empty = [name for name in NEEDED if what_is_wrong(name, {}, model_of(name).output_shape) is None]
    assert empty == ["s3.DeleteObjects"], "its good answer is an empty one, because it is asked to be quiet"


def test_the_value_of_a_tag_and_a_log_line_may_be_empty_and_a_name_may_not() -> None:
    tags, lines = model_of("sagemaker.ListTags").output_shape, model_of("logs.FilterLogEvents").output_shape
    assert what_is_wrong("sagemaker.ListTags", {"Tags": [{"Key": "k", "Value": ""}]}, tags) is None
    assert what_is_wrong("logs.FilterLogEvents", {"events": [{"message": ""}]}, lines) is None
    assert what_is_wrong("sagemaker.ListTags", {"Tags": [{"Key": "", "Value": "v"}]}, tags) == "it lacks Key"


def test_nothing_in_place_of_a_thing_is_noticed() -> None:
    shape = model_of("sagemaker.ListEndpoints").output_shape
    wrong = what_is_wrong("sagemaker.ListEndpoints", {"Endpoints": [None]}, shape)
    assert wrong == "it has None in place of what has EndpointName"


def test_a_list_that_aws_leaves_out_when_it_is_empty_may_be_missing() -> None:
    reply = {"Name": "b", "IsTruncated": False, "KeyCount": 0}
    assert what_is_wrong("s3.ListObjectsV2", reply, model_of("s3.ListObjectsV2").output_shape) is None


def test_every_reading_operation_that_kennel_calls_is_in_the_table() -> None:
    known = {xform_name(name): name for service in SERVICES for name in service_model(service).operation_names}
    names = {name for tree in sources() for node in ast.walk(tree) if (name := called(node)) in known}
    read = {known[name] for name in names if known[name].startswith(READING)}
    read -= {"ListObjects"}  # `list_objects` is a function of ours
    assert read and read - {name.partition(".")[2] for name in NEEDED} - NOTHING_NEEDED == set()


def test_every_field_that_kennel_cannot_do_without_is_in_the_table() -> None:
    needed = {name for _, path, _ in paths() for each in path.split(".") for name in each.rstrip("?+[]").split("|")}
    read = {name for tree in sources() for node in ast.walk(tree) if (name := subscript(node))[:1].isupper()}
    assert {name for name in read if not name.isupper()} - needed - NOT_OF_REPLIES - ONLY_WITH_ANOTHER == set()


def sources() -> Iterator[ast.Module]:
    """Yield what acts on replies; the audit only notes what it cannot read."""
    files = (path for path in sorted(TASKS.rglob("*.py")) if "audit" not in path.parts)
    yield from (ast.parse(path.read_text()) for path in files)


def called(node: ast.AST) -> str:
    """Return the name of an attribute, or the text that may name a paginator's operation."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def subscript(node: ast.AST) -> str:
    """Return the key of a reading like `reply["Key"]`."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.slice, ast.Constant):
        return node.slice.value if isinstance(node.slice.value, str) else ""
    return ""
