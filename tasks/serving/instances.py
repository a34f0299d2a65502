"""Sets an endpoint's number of instances while scaling is suspended, or waits for a number that scaling sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import NotFound, StageFailed, aws_boundary
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.records import EndpointRef
from tasks.run.statuses import ENDPOINT
from tasks.run.waiting import wait_for
from tasks.serving.answering import wait_until_each_answers

DEADLINE_SECONDS = 1800.0
TIMED_POLL_SECONDS = 0.05
"""The pause between two looks while the start of an instance is timed."""


def set_instance_count(
    aws: Aws,
    endpoint: EndpointRef,
    count: int,
    *,
    photo: bytes,
    deadline_seconds: float = DEADLINE_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Set a variant to `count` instances and wait until each classifies `photo`; return the real seconds until then.

    The result is 0 when the variant had that count already. Scaling has to be suspended, because Application Auto
    Scaling would otherwise change the number again.

    Raises:
        StageFailed: the endpoint failed during the change.
        WaitTimedOut: not all instances were in service within `deadline_seconds`, or one did not classify the photo.
        AwsFailed: SageMaker refused.
    """
    client, name, variant = aws.client("sagemaker"), endpoint.name, endpoint.variant
    wait_for_instances(aws, name, variant, low=0, high=None, deadline_seconds=deadline_seconds)
    with aws_boundary(f"endpoint {name}"):
        live = variant_of(client.describe_endpoint(EndpointName=name), variant)
        if live["CurrentInstanceCount"] == live["DesiredInstanceCount"] == count:
            return 0.0
        begun = clock()
        change = {"VariantName": variant, "DesiredInstanceCount": count}
        send = partial(client.update_endpoint_weights_and_capacities, EndpointName=name)
        carried_out(
            f"instances of {name}",
            lambda: send(DesiredWeightsAndCapacities=[change]),
            lambda: true_or_none(_desired_count(client, name, variant) == count),
        )
    wait_for_instances(
        aws,
        name,
        variant,
        low=count,
        high=count,
        deadline_seconds=deadline_seconds,
        poll_seconds=TIMED_POLL_SECONDS,
    )
    seconds = clock() - begun
    return seconds + wait_until_each_answers(aws, endpoint, photo, instances=count)


def wait_for_instances(
    aws: Aws,
    endpoint_name: str,
    variant: str,
    *,
    low: int,
    high: int | None,
    deadline_seconds: float,
    poll_seconds: float = 0.2,
) -> int:
    """Wait until the endpoint is in service with `low` to `high` instances (None: no upper limit); return how many.

    Raises:
        StageFailed: the endpoint ended in another state than InService.
        WaitTimedOut: the endpoint did not have that many instances within `deadline_seconds`.
        AwsFailed: AWS refused.
    """
    bounds = f"{low} to {high} instances" if high is not None else f"{low} instances or more"

    def probe() -> tuple[int | None, str]:
        endpoint = aws.client("sagemaker").describe_endpoint(EndpointName=endpoint_name)
        status = endpoint["EndpointStatus"]
        if ENDPOINT.has_failed(status):
            why = str(endpoint.get("FailureReason") or "AWS gave no reason")
            what = f"its status is {status}"
            raise StageFailed(f"endpoint {endpoint_name}", what, why, "kennel logs --source endpoint")
        if ENDPOINT.is_pending(status):
            return None, f"{status}, {bounds} wanted"
        count = int(variant_of(endpoint, variant)["CurrentInstanceCount"])
        is_there = count >= low and (high is None or count <= high)
        return (count if is_there else None), f"{status} with {count} instances, {bounds} wanted"

    with aws_boundary(f"instances of {endpoint_name}"):
        what = f"endpoint {endpoint_name}"
        return wait_for(aws.target, what, probe, deadline_seconds=deadline_seconds, poll_seconds=poll_seconds)


def _desired_count(client: Any, name: str, variant: str) -> int:
    return int(variant_of(client.describe_endpoint(EndpointName=name), variant)["DesiredInstanceCount"])


def variant_of(endpoint: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return DescribeEndpoint's entry of a variant, which has its instance counts.

    Raises:
        NotFound: the endpoint has no such variant, or it has no instances yet.
    """
    for each in endpoint.get("ProductionVariants", []):
        if each["VariantName"] == name and "CurrentInstanceCount" in each and "DesiredInstanceCount" in each:
            found: Mapping[str, Any] = each
            return found
    what, why = f"it has no variant {name} with instances", f"it is {endpoint['EndpointStatus']}"
    raise NotFound(f"endpoint {endpoint['EndpointName']}", what, why, "run the same command again")
