"""An alias that leads to two versions: which calls each gets, what is counted of them, and what AWS refuses."""

from collections import Counter
from typing import Any

import pytest
from scipy.stats import binom

from tests.localaws.functions.functions_kit import Functions, Metrics, error_of
from tests.localaws.roles import make_role
from tests.polling import wait_until

CALLS, WEIGHT = 300, 0.1
FAILS_FROM_SECOND_ON = """
import time
def handler(event, context):
    if context.function_version == "2":
        time.sleep(0.02)
        raise RuntimeError("the second version")
    return context.function_version
"""


def two_versions(functions: Functions, source: str = FAILS_FROM_SECOND_ON, **change: Any) -> str:
    """Make a function with versions 1 and 2, and an alias `live` of version 1."""
    name = functions.make(source, Publish=True)
    functions.aws.update_function_configuration(FunctionName=name, **(change or {"Timeout": 7}))
    functions.aws.publish_version(FunctionName=name)
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def weigh(functions: Functions, name: str, **weights: float) -> Any:
    routing = {"AdditionalVersionWeights": {version[1:]: weight for version, weight in weights.items()}}
    return functions.aws.update_alias(FunctionName=name, Name="live", RoutingConfig=routing)


def test_each_version_gets_its_share_and_its_calls_are_counted_apart(functions: Functions, metrics: Metrics) -> None:
    name = two_versions(functions)
    assert weigh(functions, name, v2=WEIGHT)["RoutingConfig"] == {"AdditionalVersionWeights": {"2": WEIGHT}}
    replies = [functions.invoke(name, Qualifier="live") for _ in range(CALLS)]
    executed = Counter(reply["ExecutedVersion"] for reply in replies)
    low, high = binom.ppf((1e-6, 1 - 1e-6), CALLS, WEIGHT)
    assert low <= executed["2"] <= high and executed.total() == CALLS
    assert all(("FunctionError" in reply) == (reply["ExecutedVersion"] == "2") for reply in replies)

    alias = {"FunctionName": name, "Resource": f"{name}:live"}
    wait_until(lambda: metrics.get("Invocations", "Sum", **alias) == CALLS)
    for version, count in executed.items():
        apart = {**alias, "ExecutedVersion": version}
        assert metrics.get("Invocations", "Sum", **apart) == metrics.get("Duration", "SampleCount", **apart) == count
        assert metrics.get("Errors", "Average", **apart) == (1.0 if version == "2" else 0.0)
    assert (metrics.get("Duration", "Maximum", **alias, ExecutedVersion="2") or 0.0) >= 20.0
    assert metrics.get("Errors", "Sum", **alias) == executed["2"]


def test_the_whole_of_the_weight_is_the_other_versions_and_none_is_none_of_it(functions: Functions) -> None:
    name = two_versions(functions)
    for weight, version in ((1.0, "2"), (0.0, "1")):
        weigh(functions, name, v2=weight)
        assert {functions.invoke(name, Qualifier="live")["ExecutedVersion"] for _ in range(20)} == {version}


@pytest.mark.parametrize(
    ("version", "weights", "text"),
    [
        ("1", {"1": 0.1}, "Function version 1 is already included"),
        ("$LATEST", {"1": 0.1}, "$LATEST is not supported for an alias pointing to more than 1 version"),
        ("1", {"2": 0.1, "3": 0.1}, "cannot be greater than 1"),
    ],
)
def test_weights_that_aws_refuses_are_refused_and_change_nothing(
    functions: Functions, version: str, weights: dict[str, float], text: str
) -> None:
    name = two_versions(functions)
    asked = {"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights}}
    code, message, status = error_of(functions.aws.update_alias, FunctionName=name, Name="live", **asked)
    assert (code, status) == ("InvalidParameterValueException", 400) and text in message
    code, message, _ = error_of(functions.aws.create_alias, FunctionName=name, Name="other", **asked)
    assert code == "InvalidParameterValueException" and text in message
    assert functions.aws.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"
    assert {functions.invoke(name, Qualifier="live")["ExecutedVersion"] for _ in range(5)} == {"1"}


@pytest.mark.parametrize("weights", [{"2": 1.5}, {"$LATEST": 0.1}])
def test_weights_that_the_model_of_the_operation_does_not_allow_are_refused(
    functions: Functions, weights: dict[str, float]
) -> None:
    name = two_versions(functions)
    routing = {"AdditionalVersionWeights": weights}
    code, message, _ = error_of(functions.aws.update_alias, FunctionName=name, Name="live", RoutingConfig=routing)
    assert code == "ValidationException" and "at 'routingConfig.additionalVersionWeights' failed to satisfy" in message
    assert functions.aws.get_alias(FunctionName=name, Name="live").get("RoutingConfig") is None


def test_versions_of_two_roles_cannot_share_an_alias(functions: Functions, localaws: Any) -> None:
    role = make_role(localaws.client("iam"), f"other-{functions.role[-6:]}", "lambda")
    name = two_versions(functions, Role=role)
    routing = {"AdditionalVersionWeights": {"2": 0.1}}
    code, message, _ = error_of(functions.aws.update_alias, FunctionName=name, Name="live", RoutingConfig=routing)
    assert (code, message) == (
        "InvalidParameterValueException",
        "Specified versions must be associated with the same execution role",
    )


def test_weights_stay_when_an_update_names_none_and_go_when_it_names_no_version(functions: Functions) -> None:
    name, client = two_versions(functions), functions.aws
    before = weigh(functions, name, v2=0.5)["RevisionId"]
    described = client.update_alias(FunctionName=name, Name="live", Description="shared")
    assert described["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}
    _, message, _ = error_of(client.update_alias, FunctionName=name, Name="live", FunctionVersion="2")
    assert "Function version 2 is already included" in message
    code, _, status = error_of(client.update_alias, FunctionName=name, Name="live", Description="x", RevisionId=before)
    assert (code, status) == ("PreconditionFailedException", 412)
    client.update_alias(
        FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert {functions.invoke(name, Qualifier="live")["ExecutedVersion"] for _ in range(10)} == {"2"}
