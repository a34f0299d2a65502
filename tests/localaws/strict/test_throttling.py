"""A strict server refuses calls above AWS's rates with the service's own error; SDKs wait and ask again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.clock import Clock
from localaws.errors import AwsError
from localaws.permissions.throttle import OTHERS, RATES, Throttle, rate_of
from tests.conftest import RunningLocalAws, running_localaws

pytestmark = pytest.mark.strict

AT_ONCE = 16


@pytest.fixture(scope="module")
def real() -> Iterator[RunningLocalAws]:
    """A strict server in real time."""
    with running_localaws("--strict") as server:
        yield server


def clock_at(now: list[float]) -> Clock:
    return Clock(wall=lambda: now[0])


def taken(throttle: Throttle, action: str, *, at_most: int = 1_000) -> int:
    """Return how many calls in a row are let through."""
    for count in range(at_most):
        try:
            throttle.take(action, action.partition(":")[0])
        except AwsError:
            return count
    return at_most


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.actions)
def test_a_burst_is_let_through_and_then_so_many_a_second(rate: Any) -> None:
    now = [1_000.0]
    throttle, action = Throttle(clock_at(now)), rate.actions.replace("*", "Something")

    assert taken(throttle, action) == rate.burst
    now[0] += 1.0
    assert taken(throttle, action) == rate.per_second


def test_each_operation_of_sagemaker_has_its_own_bucket_and_lambdas_share_one() -> None:
    throttle = Throttle(clock_at([1_000.0]))

    assert taken(throttle, "sagemaker:DescribeEndpoint") == taken(throttle, "sagemaker:DescribeModel") == 10
    assert taken(throttle, "lambda:GetAlias") == 15
    assert taken(throttle, "lambda:GetFunctionConfiguration") == 0
    assert taken(throttle, "lambda:GetFunction") == 100


def test_what_changes_something_and_invocations_are_not_throttled() -> None:
    assert rate_of("sagemaker:CreateEndpoint") is rate_of("lambda:InvokeFunction") is rate_of("s3:GetObject") is None


@pytest.mark.parametrize(
    ("service", "operation", "request_", "code"),
    [
        ("sagemaker", "list_endpoints", {}, OTHERS[0]),
        ("logs", "filter_log_events", {"logGroupName": "/none"}, OTHERS[0]),
        ("lambda", "list_functions", {}, "TooManyRequestsException"),
    ],
)
def test_too_many_calls_at_once_get_the_services_own_error(
    real: RunningLocalAws, service: str, operation: str, request_: dict[str, Any], code: str
) -> None:
    client = real.client(service, max_pool_connections=AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = list(pool.map(lambda _: code_of(client, operation, request_), range(4 * AT_ONCE)))

    assert code in codes


def code_of(client: Any, operation: str, request: dict[str, Any]) -> str | None:
    try:
        getattr(client, operation)(**request)
    except ClientError as error:
        found: str = error.response["Error"]["Code"]
        return found
    return None
