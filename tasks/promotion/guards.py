"""The alarms that take an update of an endpoint back: its errors, and its latency against that of what served before.

Missing data is an alarm too: an endpoint that nobody asks shows nothing, so the flow that promotes sends photos. An
alarm costs money, so they are removed when the promotion is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from tasks.account.lookup import refuse_foreign, shown_tags, tags_to_dict
from tasks.run.aws import Aws
from tasks.run.clock import AwsClock
from tasks.run.errors import aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.waiting import say, wait_for
from tasks.serving.endpoint_plan import VARIANT, endpoint_name, guard_prefix

KIND = "alarm"
NAMESPACE = "AWS/SageMaker"
PERIOD_SECONDS = 60
SETTLE_SECONDS = 600.0
LEAST_MICROSECONDS = 20_000.0
_BASELINE = timedelta(hours=1)


@dataclass(frozen=True)
class Guard:
    """An alarm on a metric of the endpoint's variant; `statistic` is "Average" or a percentile, such as "p99"."""

    name: str
    metric: str
    statistic: str
    threshold: float

    @property
    def text(self) -> str:
        """What the alarm allows, in words."""
        if self.metric == "ModelLatency":
            return f"{self.statistic} of ModelLatency up to {self.threshold / 1000:.1f} ms"
        return f"share of answers with an error of the server's up to {self.threshold:.1%}"


@dataclass(frozen=True)
class Limits:
    """What a promotion allows: the share of failed requests, and the latency as a multiple of the champion's."""

    error_share: float = 0.01
    slower: float = 1.5


def guards_of(run: Run, limits: Limits) -> tuple[Guard, ...]:
    """Return the alarms of the run's endpoint, whose latency's threshold is from the last hour's measurements.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    name = guard_prefix(run.id)
    errors = Guard(f"{name}errors", "Invocation5XXErrors", "Average", limits.error_share)
    usual = _usual_p99(run.aws, run.id)
    if usual is None:
        return (errors,)
    return (errors, Guard(f"{name}latency", "ModelLatency", "p99", max(usual * limits.slower, LEAST_MICROSECONDS)))


def _usual_p99(aws: Aws, run_id: str) -> float | None:
    """Return the p99 of ModelLatency in microseconds over the last hour of AWS's clock, None without a request."""
    clock = AwsClock.from_settings(aws.settings)
    now = clock.now()
    metric = {"Namespace": NAMESPACE, "MetricName": "ModelLatency", "Dimensions": _dimensions(run_id)}
    stat = {"Metric": metric, "Period": int(_BASELINE.total_seconds()), "Stat": "p99"}
    with aws_boundary(f"endpoint {endpoint_name(run_id)}: its latency"):
        found = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "usual", "MetricStat": stat}],
            StartTime=now - _BASELINE,
            EndTime=now + timedelta(minutes=1),
        )["MetricDataResults"]
    return max((float(value) for each in found for value in each["Values"]), default=None)


def ensure_guards(run: Run, guards: tuple[Guard, ...]) -> None:
    """Create or change the alarms.

    Raises:
        OwnershipRefused: an alarm of that name does not have this run's tags.
        AwsFailed: CloudWatch refused.
    """
    client = run.aws.client("cloudwatch")
    for guard in guards:
        with aws_boundary(f"alarm {guard.name}"):
            own_alarm(run, guard.name)
            with run.ledger.create(KIND, guard.name, None) as row:
                repeated_if_lost(partial(client.put_metric_alarm, **_request(run, guard)))
                row.identifier = alarm_arn(run.aws, guard.name)
        say(f"alarm {guard.name}: {guard.text}")


def wait_until_calm(run: Run, guards: tuple[Guard, ...]) -> None:
    """Wait until no alarm is in alarm and each has seen data: AWS takes an update back whose alarm rings before it.

    Raises:
        WaitTimedOut: an alarm still rang, or had no data, after ten minutes of AWS's clock.
        AwsFailed: CloudWatch refused.
    """
    client, names = run.aws.client("cloudwatch"), [guard.name for guard in guards]

    def probe() -> tuple[bool | None, str]:
        found = client.describe_alarms(AlarmNames=names)["MetricAlarms"]
        states = {str(each["AlarmName"]): str(each["StateValue"]) for each in found}
        waiting = [f"{name} {states.get(name, 'not shown')}" for name in names if states.get(name) != "OK"]
        return (None, ", ".join(waiting)) if waiting else (True, "calm")

    with aws_boundary("alarms of the endpoint"):
        clock = AwsClock.from_settings(run.settings)
        deadline = max(30.0, clock.wall_seconds(SETTLE_SECONDS))
        what = f"alarms of endpoint {endpoint_name(run.id)}"
        again = f"kennel logs {run.id} --source endpoint, which has the errors of what serves now"
        wait_for(run.aws.target, what, probe, deadline_seconds=deadline, next_command=again)


def ringing(run: Run, guards: tuple[Guard, ...]) -> str:
    """Return the alarms that ring, with CloudWatch's reasons; "" if none does.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    with aws_boundary("alarms of the endpoint"):
        names = [guard.name for guard in guards]
        found = run.aws.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    return "; ".join(f"{each['AlarmName']}: {each['StateReason']}" for each in found if each["StateValue"] == "ALARM")


def remove_guards(run: Run) -> None:
    """Delete the run's alarms.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    rows = [row.name for row in run.ledger.live() if row.kind == KIND]
    with aws_boundary("alarms of the endpoint"):
        if rows:
            repeated_if_lost(lambda: run.aws.client("cloudwatch").delete_alarms(AlarmNames=rows))
    for name in rows:
        run.ledger.mark_removed(KIND, name)


def describe_alarms(aws: Aws, **wanted: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the metric alarms that DescribeAlarms answers.

    Raises:
        ClientError: CloudWatch refused.
    """
    for page in aws.client("cloudwatch").get_paginator("describe_alarms").paginate(**wanted):
        yield from page["MetricAlarms"]


def alarm_tags(aws: Aws, name: str) -> Mapping[str, str]:
    """Return the tags of an alarm.

    Raises:
        ClientError: CloudWatch refused.
    """
    client, arn = aws.client("cloudwatch"), alarm_arn(aws, name)
    return shown_tags(
        aws, f"alarm {name}", lambda: tags_to_dict(client.list_tags_for_resource(ResourceARN=arn)["Tags"])
    )


def alarm_arn(aws: Aws, name: str) -> str:
    """Return the ARN of an alarm."""
    return aws.arn("cloudwatch", f"alarm:{name}")


def own_alarm(run: Run, name: str) -> str | None:
    """Return the ARN of the run's alarm, or None without one.

    Raises:
        OwnershipRefused: it does not have the run's tags.
        ClientError: CloudWatch refused.
    """
    if not list(describe_alarms(run.aws, AlarmNames=[name])):
        return None
    refuse_foreign(f"alarm {name}", alarm_tags(run.aws, name), run.id)
    return alarm_arn(run.aws, name)


def _request(run: Run, guard: Guard) -> dict[str, Any]:
    is_percentile = guard.statistic.startswith("p")
    return {
        "AlarmName": guard.name,
        "AlarmDescription": f"Takes a promotion on endpoint {endpoint_name(run.id)} back",
        "Namespace": NAMESPACE,
        "MetricName": guard.metric,
        "Dimensions": _dimensions(run.id),
        "ExtendedStatistic" if is_percentile else "Statistic": guard.statistic,
        "Period": PERIOD_SECONDS,
        "EvaluationPeriods": 1,
        "Threshold": guard.threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "breaching",
        "Tags": run.aws.tag_list(run.id),
    }


def _dimensions(run_id: str) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": endpoint_name(run_id)}, {"Name": "VariantName", "Value": VARIANT}]
