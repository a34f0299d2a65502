"""The alarms that take a change back: errors, and the latency against that of what served before.

Missing data is an alarm too: what nobody asks shows nothing, so the flow that changes something sends photos. An alarm
costs money, so they are removed when the change is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
_MILLISECONDS = {"ModelLatency": 0.001, "Duration": 1.0}
_SHARES = {
    "Invocation5XXErrors": "share of answers with an error of the server's",
    "Errors": "share of calls in which the function raised",
    "FailedAnswers": "share of our photos without a right answer",
}


@dataclass(frozen=True)
class Subject:
    """What alarms watch: in words, and a metric's namespace and dimensions in CloudWatch."""

    text: str
    namespace: str
    dimensions: Mapping[str, str]

    @property
    def dimension_list(self) -> list[dict[str, str]]:
        """The dimensions as CloudWatch's calls take them."""
        return [{"Name": name, "Value": value} for name, value in self.dimensions.items()]


@dataclass(frozen=True)
class Guard:
    """An alarm on a metric; `statistic` is "Average" or a percentile, such as "p99".

    It rings when so many `periods` in a row are above the threshold. `subject` None is the run's endpoint.
    """

    name: str
    metric: str
    statistic: str
    threshold: float
    subject: Subject | None = None
    periods: int = 1

    @property
    def text(self) -> str:
        """What the alarm allows, in words."""
        if self.metric in _MILLISECONDS:
            return f"{self.statistic} of {self.metric} up to {self.threshold * _MILLISECONDS[self.metric]:.1f} ms"
        return f"{_SHARES[self.metric]} up to {self.threshold:.1%}"


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
    usual = usual_p99(run.aws, endpoint_subject(run.id), "ModelLatency")
    if usual is None:
        return (errors,)
    return (errors, Guard(f"{name}latency", "ModelLatency", "p99", max(usual * limits.slower, LEAST_MICROSECONDS)))


def endpoint_subject(run_id: str) -> Subject:
    """Return the run's endpoint as alarms watch it."""
    name = endpoint_name(run_id)
    return Subject(f"endpoint {name}", NAMESPACE, {"EndpointName": name, "VariantName": VARIANT})


def usual_p99(aws: Aws, subject: Subject, metric: str) -> float | None:
    """Return the p99 of a metric, in its unit, over the last hour of AWS's clock; None without a data point.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    since = AwsClock.from_settings(aws.settings).now() - _BASELINE
    values = metric_values(aws, subject, metric, "p99", since, period_seconds=int(_BASELINE.total_seconds()))
    return max(values, default=None)


def metric_values(
    aws: Aws, subject: Subject, metric: str, statistic: str, since: datetime, *, period_seconds: int = PERIOD_SECONDS
) -> list[float]:
    """Return a statistic of a metric in each period that has data, from the one of a time of AWS's clock until now.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    named = {"Namespace": subject.namespace, "MetricName": metric, "Dimensions": subject.dimension_list}
    stat = {"Metric": named, "Period": period_seconds, "Stat": statistic}
    with aws_boundary(f"{subject.text}: its {metric}"):
        found = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "usual", "MetricStat": stat}],
            StartTime=since,
            EndTime=AwsClock.from_settings(aws.settings).now() + timedelta(minutes=1),
        )["MetricDataResults"]
    return [float(value) for each in found for value in each["Values"]]


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

    def probe() -> tuple[bool | None, str]:
        waiting = not_calm(run, guards)
        return (None, waiting) if waiting else (True, "calm")

    with aws_boundary("alarms of the endpoint"):
        clock = AwsClock.from_settings(run.settings)
        deadline = max(30.0, clock.wall_seconds(SETTLE_SECONDS))
        what = f"alarms of endpoint {endpoint_name(run.id)}"
        again = f"kennel logs {run.id} --source endpoint, which has the errors of what serves now"
        wait_for(run.aws.target, what, probe, deadline_seconds=deadline, next_command=again)


def not_calm(run: Run, guards: tuple[Guard, ...]) -> str:
    """Return the alarms that are not OK, with their states; "" if all are. One without data is not OK.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    states = {str(each["AlarmName"]): str(each["StateValue"]) for each in _described(run, guards)}
    return ", ".join(
        f"{guard.name} {states.get(guard.name, 'not shown')}" for guard in guards if states.get(guard.name) != "OK"
    )


def ringing(run: Run, guards: tuple[Guard, ...]) -> str:
    """Return the alarms that ring, with CloudWatch's reasons; "" if none does.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    found = _described(run, guards)
    return "; ".join(f"{each['AlarmName']}: {each['StateReason']}" for each in found if each["StateValue"] == "ALARM")


def _described(run: Run, guards: tuple[Guard, ...]) -> list[Mapping[str, Any]]:
    with aws_boundary(f"alarms of run {run.id}"):
        found = run.aws.client("cloudwatch").describe_alarms(AlarmNames=[guard.name for guard in guards])
    return list(found["MetricAlarms"])


def remove_guards(run: Run, prefix: str = "") -> None:
    """Delete the run's alarms, or those whose names begin with a prefix.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    rows = [row.name for row in run.ledger.live() if row.kind == KIND and row.name.startswith(prefix)]
    with aws_boundary(f"alarms of run {run.id}"):
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
    subject, is_percentile = guard.subject or endpoint_subject(run.id), guard.statistic.startswith("p")
    return {
        "AlarmName": guard.name,
        "AlarmDescription": f"Takes a change of {subject.text} back",
        "Namespace": subject.namespace,
        "MetricName": guard.metric,
        "Dimensions": subject.dimension_list,
        "ExtendedStatistic" if is_percentile else "Statistic": guard.statistic,
        "Period": PERIOD_SECONDS,
        "EvaluationPeriods": guard.periods,
        "Threshold": guard.threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "breaching",
        "Tags": run.aws.tag_list(run.id),
    }
