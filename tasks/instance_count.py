"""An endpoint's number of instances, set by hand and waited for: one for a ladder, one more to time its start.

Used while scaling is suspended, which keeps Application Auto Scaling from setting it back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.records import EndpointRef
from tasks.run.waiting import wait_for

DEADLINE_SECONDS = 1800.0


def set_instance_count(
    aws: Aws, endpoint: EndpointRef, count: int, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Bring a variant to `count` instances in service; return the real seconds that it took, 0 when it had them.

    Raises:
        StageFailed: the endpoint left InService on the way.
        WaitTimedOut: they did not all serve within half an hour.
        AwsFailed: SageMaker refused.
    """
    client, what = aws.client("sagemaker"), f"endpoint {endpoint.name}"
    with aws_boundary(what):
        if _settled(client.describe_endpoint(EndpointName=endpoint.name), endpoint, count)[0]:
            return 0.0
        wait_for(what, lambda: _in_service(client, endpoint), deadline_seconds=DEADLINE_SECONDS, poll_seconds=0.1)
        begun = clock()
        client.update_endpoint_weights_and_capacities(
            EndpointName=endpoint.name,
            DesiredWeightsAndCapacities=[{"VariantName": endpoint.variant, "DesiredInstanceCount": count}],
        )
        poll = 0.05 if aws.target == "local" else 2.0
        wait_for(
            what,
            lambda: _settled(client.describe_endpoint(EndpointName=endpoint.name), endpoint, count),
            deadline_seconds=DEADLINE_SECONDS,
            poll_seconds=poll,
        )
    return clock() - begun


def _in_service(client: Any, endpoint: EndpointRef) -> tuple[bool | None, str]:
    status = client.describe_endpoint(EndpointName=endpoint.name)["EndpointStatus"]
    return (True if status == "InService" else None), status


def _settled(found: Mapping[str, Any], endpoint: EndpointRef, count: int) -> tuple[bool | None, str]:
    live = next(each for each in found["ProductionVariants"] if each["VariantName"] == endpoint.variant)
    status, current, desired = found["EndpointStatus"], live["CurrentInstanceCount"], live["DesiredInstanceCount"]
    if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
        why = str(found.get("FailureReason") or "SageMaker gave no reason")
        raise StageFailed(f"endpoint {endpoint.name}", f"it is {status}", why, "kennel logs --source endpoint")
    is_there = status == "InService" and current == desired == count
    return (True if is_there else None), f"{status} with {current} of {count} instances"
