"""Brings an endpoint to rest: its minimum of instances, and no load in the minutes that a new alarm evaluates.

A new policy's alarm evaluates past minutes and acts at once when they are above the target. After the load of a ladder
the fleet would therefore grow before a profile begins. Scaling stays suspended; applying the plan resumes it.
"""

from __future__ import annotations

from datetime import timedelta

from tasks.run.aws import Aws
from tasks.run.clock import MINUTE_SECONDS, AwsClock
from tasks.run.errors import aws_boundary
from tasks.run.records import EndpointRef
from tasks.run.waiting import wait_for
from tasks.scaling.rules import OUT_PERIODS
from tasks.serving.autoscaling import METRIC, suspend_scaling
from tasks.serving.instances import set_instance_count

LOOK_BACK_MINUTES = OUT_PERIODS + 1
DEADLINE_MINUTES = 30
METRIC_NAME = METRIC.removeprefix("SageMakerVariant")


def bring_to_rest(aws: Aws, endpoint: EndpointRef, *, minimum: int, target: float, photo: bytes) -> None:
    """Suspend scaling, set `minimum` instances and wait until the last minutes are below `target`.

    Instances that are added have to classify `photo`.

    Raises:
        StageFailed: the endpoint left InService while its instances were set.
        WaitTimedOut: the endpoint did not come to rest in time.
        AwsFailed: AWS refused.
    """
    suspend_scaling(aws, endpoint.name, endpoint.variant)
    set_instance_count(aws, endpoint, minimum, photo=photo)
    clock = AwsClock.from_settings(aws.settings)

    begun = clock.now()

    def probe() -> tuple[bool | None, str]:
        sums = _sums(aws, clock, endpoint)
        busiest = max(sums, default=0.0)
        if busiest > target:
            return None, f"under a load of {busiest:.4g} invocations a minute"
        is_told = len(sums) >= LOOK_BACK_MINUTES or clock.now() - begun >= _silence_that_counts(aws)
        return (True if is_told else None), "without load as far as CloudWatch has told, which may be minutes late"

    wait_for(
        aws.target,
        f"endpoint {endpoint.name}",
        probe,
        deadline_seconds=clock.wall_seconds(DEADLINE_MINUTES * MINUTE_SECONDS),
        poll_seconds=max(0.1, clock.wall_seconds(MINUTE_SECONDS / 6)),
    )


def _silence_that_counts(aws: Aws) -> timedelta:
    """Return the AWS time after which minutes without a datapoint were minutes without load.

    Load that ended before the wait began is then older than the look-back, and CloudWatch would have told of any since.
    """
    lag_seconds = aws.target.metric_lag_seconds
    return timedelta(seconds=LOOK_BACK_MINUTES * MINUTE_SECONDS + lag_seconds if lag_seconds else 0.0)


def _sums(aws: Aws, clock: AwsClock, endpoint: EndpointRef) -> list[float]:
    """Return the sum per instance of each minute that an alarm would evaluate and of which CloudWatch has told."""
    now = clock.now()
    with aws_boundary(f"CloudWatch {METRIC_NAME} of {endpoint.name}"):
        points = aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=METRIC_NAME,
            Dimensions=[
                {"Name": "EndpointName", "Value": endpoint.name},
                {"Name": "VariantName", "Value": endpoint.variant},
            ],
            StartTime=now - timedelta(minutes=LOOK_BACK_MINUTES),
            EndTime=now + timedelta(minutes=1),
            Period=int(MINUTE_SECONDS),
            Statistics=["Sum"],
        )["Datapoints"]
    return [float(point["Sum"]) for point in points]
