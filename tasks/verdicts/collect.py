"""Collects what AWS reports about a profile's run: CloudWatch metrics, instance counts, scaling activities, alarms.

`InstanceWatch` polls the instance counts during the run; `observe_profile` requests the rest afterwards. AWS's times
are converted to real seconds since the measurement began, so that they share one time axis with Locust's figures.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tasks.load.disturbance import Bounds, MachineSample
from tasks.run.aws import Aws
from tasks.run.clock import MINUTE_SECONDS, AwsClock
from tasks.run.errors import NotFound, aws_boundary
from tasks.run.records import EndpointRef, FunctionRef, LoadReport
from tasks.run.sealed import parse_json, read_regular
from tasks.run.waiting import REAL_TIME, Patience, Waiting, look
from tasks.run.watch_thread import WatchThread
from tasks.serving.activities import describe_activities
from tasks.serving.autoscaling import describe_scaling
from tasks.serving.instances import variant_of
from tasks.verdicts.disturbed_stages import generator_samples, mark_disturbed
from tasks.verdicts.profile_observation import (
    AlarmChange,
    InstanceCounts,
    Interval,
    MetricPoint,
    ObservedActivity,
    ProfileObservation,
    RequestCounts,
)

POLL_AWS_SECONDS = 6.0
SHORTEST_POLL_SECONDS = 0.1
COUNT_POLL_SECONDS = 0.2
UNANSWERED = ("connection", "timeout")
_FIELDS = ("due", "answered", "failed", "throttled", "p50_ms", "p95_ms", "p99_ms", "begin", "end")

ENDPOINT_SERIES = {
    "per_instance": ("InvocationsPerInstance", "Sum"),
    "endpoint_invocations": ("Invocations", "Sum"),
    "endpoint_4xx": ("Invocation4XXErrors", "Sum"),
    "endpoint_5xx": ("Invocation5XXErrors", "Sum"),
    "model_latency_us": ("ModelLatency", "Average"),
}
FUNCTION_SERIES = {
    "invocations": ("Invocations", "Sum"),
    "throttles": ("Throttles", "Sum"),
    "function_errors": ("Errors", "Sum"),
    "duration_ms": ("Duration", "Sum"),
    "concurrency": ("ConcurrentExecutions", "Maximum"),
    "spillover": ("ProvisionedConcurrencySpilloverInvocations", "Sum"),
    "provisioned": ("ProvisionedConcurrencyInvocations", "Sum"),
    "provisioned_use": ("ProvisionedConcurrencyUtilization", "Maximum"),
}
SERIES = (*ENDPOINT_SERIES, *FUNCTION_SERIES)


@dataclass
class InstanceWatch(WatchThread):
    """Polls an endpoint's instance counts until its `with` block ends. `failed` counts the polls that AWS refused."""

    thread_name = "instance watch"
    end_seconds = 30.0

    aws: Aws
    endpoint: EndpointRef
    polls: list[tuple[float, int, int, str]] = field(default_factory=list)
    failed: int = 0

    def since(self, began: float) -> tuple[InstanceCounts, ...]:
        """Return the polls, with times in seconds since the Unix time `began`."""
        return tuple(
            InstanceCounts(at - began, current, desired, status) for at, current, desired, status in self.polls
        )

    def watch(self) -> None:
        """Poll until the block is over, and then a last time."""
        own = max(SHORTEST_POLL_SECONDS, POLL_AWS_SECONDS / self.aws.settings.time_scale)
        while True:
            is_last = self._over.wait(self.aws.target.pause_seconds(own) if self.polls else 0.0)
            self._poll()
            if is_last:
                return

    def _poll(self) -> None:
        try:
            found = self.aws.client("sagemaker").describe_endpoint(EndpointName=self.endpoint.name)
            live = variant_of(found, self.endpoint.variant)
        except (ClientError, BotoCoreError, NotFound):
            self.failed += 1
            return
        counts = (live["CurrentInstanceCount"], live["DesiredInstanceCount"])
        self.polls.append((time.time(), *counts, found["EndpointStatus"]))


def observe_profile(
    aws: Aws,
    report: LoadReport,
    watch: InstanceWatch,
    *,
    endpoint: EndpointRef,
    function: FunctionRef | None,
    machine_samples: Sequence[MachineSample] = (),
    bounds: Bounds | None = None,
    waiting: Waiting = REAL_TIME,
) -> ProfileObservation:
    """Collect what AWS reports about a finished run; `function` is None when requests went directly to the endpoint.

    `machine_samples` above `bounds` mark stages and intervals as disturbed.

    Raises:
        AwsFailed: CloudWatch or Application Auto Scaling refused.
    """
    content = parse_json(read_regular(Path(report.files["json"])))
    began = datetime.fromisoformat(content["measured_from"]).timestamp()
    window = _Window(
        aws, AwsClock.from_settings(aws.settings), began, content["warm_up"]["seconds"], content["seconds"]
    )
    counts = window.wait_for_counts(report, endpoint, function, waiting)
    observation = ProfileObservation(
        through="endpoint" if function is None else "function",
        target=report.target,
        began=began,
        time_scale=aws.settings.time_scale,
        is_valid=report.is_valid and report.why_failed is None,
        why_invalid=report.why_invalid or "",
        counts=counts,
        stages=tuple(_stretch(row) for row in content["by_stage"]),
        intervals=tuple(_stretch(row) for row in content["intervals"]),
        seconds=tuple((row["due"], row["answered"], row["failed"]) for row in content["timeline"]),
        instances=watch.since(began),
        activities=window.activities(endpoint),
        alarms=window.alarm_changes(endpoint),
        series=window.series(endpoint, function),
        files=report.files,
        hardware=report.hardware,
        why_failed=report.why_failed or "",
    )
    return (
        observation
        if bounds is None
        else mark_disturbed(observation, [*machine_samples, *generator_samples(content, began)], bounds)
    )


@dataclass(frozen=True)
class _Window:
    """Reads AWS's metrics, activities and alarms for the whole minutes of AWS time in which a run took place."""

    aws: Aws
    clock: AwsClock
    began: float
    warm_up_seconds: float
    seconds: float

    def wait_for_counts(
        self,
        report: LoadReport,
        endpoint: EndpointRef,
        function: FunctionRef | None,
        waiting: Waiting,
    ) -> RequestCounts:
        """Wait until CloudWatch has counted every request or its longest delay has passed; return all counts.

        Where CloudWatch may be late, its other series of the same minutes may be later than this one.
        """
        expected = report.requests + report.warm_up_requests
        latest = self.aws.target.metric_delay_seconds + self.clock.wall_seconds(MINUTE_SECONDS)
        lag = self.aws.target.metric_lag_seconds
        patience, counted = Patience("CloudWatch", self.aws.target, waiting), None
        while True:
            now, _ = look(lambda: (self._counted(endpoint, function), "read"))
            counted = counted if now is None else now
            spent = patience.spent_seconds
            is_complete = counted is not None and counted >= expected
            if (is_complete and spent >= self.clock.wall_seconds(lag)) or spent >= latest:
                break
            patience.pause(
                f"{counted or 0:.0f} of {expected} requests counted", COUNT_POLL_SECONDS, most_seconds=latest - spent
            )
        return RequestCounts(
            sent=report.requests,
            answered=report.answered,
            failed=report.failures,
            warm_up=report.warm_up_requests,
            unanswered=sum(report.error_kinds.get(kind, 0) for kind in UNANSWERED),
            counted=counted,
        )

    def series(self, endpoint: EndpointRef, function: FunctionRef | None) -> dict[str, tuple[MetricPoint, ...]]:
        """Return every CloudWatch series that has data, by its name in `SERIES`."""
        found = {name: self._of_endpoint(endpoint, *of) for name, of in ENDPOINT_SERIES.items()}
        if function is not None:
            found |= {name: self._of_function(function, *of) for name, of in FUNCTION_SERIES.items()}
        return {name: points for name, points in found.items() if points}

    def activities(self, endpoint: EndpointRef) -> tuple[ObservedActivity, ...]:
        """Return the scaling activities that began during the run."""
        found = describe_activities(self.aws, endpoint.name, endpoint.variant)
        rows = [
            ObservedActivity(
                self._seconds(each.started),
                None if each.ended is None else self._seconds(each.ended),
                each.description,
                each.cause,
                each.status,
                each.message,
            )
            for each in found
        ]
        return tuple(row for row in rows if row.at >= 0)

    def alarm_changes(self, endpoint: EndpointRef) -> tuple[AlarmChange, ...]:
        """Return the state changes of the policies' alarms during the run."""
        state = describe_scaling(self.aws, endpoint.name, endpoint.variant)
        names = [name for policy in state.policies for name in policy.alarms] if state else []
        changes = [change for name in names for change in self._changes_of(name)]
        return tuple(sorted((each for each in changes if each.at >= 0), key=lambda each: each.at))

    def _changes_of(self, name: str) -> list[AlarmChange]:
        client = self.aws.client("cloudwatch")
        with aws_boundary(f"alarm {name}"):
            pages = client.get_paginator("describe_alarm_history").paginate(
                AlarmName=name, HistoryItemType="StateUpdate"
            )
            items = [item for page in pages for item in page["AlarmHistoryItems"]]
        which = "low" if "AlarmLow" in name else "high"
        return [
            AlarmChange(self._seconds(item["Timestamp"]), which, item["HistorySummary"].rpartition(" to ")[2])
            for item in items
        ]

    def _counted(self, endpoint: EndpointRef, function: FunctionRef | None) -> float | None:
        if function is None:
            points = self._of_endpoint(endpoint, "Invocations", "Sum")
        else:
            points = (*self._of_function(function, "Invocations", "Sum"), *self._of_function(function, "Throttles"))
        return sum(point.value for point in points) if points else None

    def _of_endpoint(self, endpoint: EndpointRef, metric: str, statistic: str = "Sum") -> tuple[MetricPoint, ...]:
        dimensions = {"EndpointName": endpoint.name, "VariantName": endpoint.variant}
        return self._points("AWS/SageMaker", metric, dimensions, statistic)

    def _of_function(self, function: FunctionRef, metric: str, statistic: str = "Sum") -> tuple[MetricPoint, ...]:
        dimensions = {"FunctionName": function.name, "Resource": f"{function.name}:{function.alias}"}
        return self._points("AWS/Lambda", metric, dimensions, statistic)

    def _points(
        self, namespace: str, metric: str, dimensions: Mapping[str, str], statistic: str
    ) -> tuple[MetricPoint, ...]:
        start, end = self._limits()
        query = {
            "Id": "m",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                },
                "Period": int(MINUTE_SECONDS),
                "Stat": statistic,
            },
        }
        with aws_boundary(f"CloudWatch {namespace} {metric}"):
            pages = self.aws.client("cloudwatch").get_paginator("get_metric_data")
            asked: dict[str, Any] = {"MetricDataQueries": [query], "StartTime": start, "EndTime": end}
            found = [
                (self._seconds(stamp), float(value))
                for page in pages.paginate(**asked)
                for result in page["MetricDataResults"]
                for stamp, value in zip(result["Timestamps"], result["Values"], strict=True)
            ]
        length = self.clock.wall_seconds(MINUTE_SECONDS)
        return tuple(MetricPoint(at, at + length, value) for at, value in sorted(found))

    def _limits(self) -> tuple[datetime, datetime]:
        """Return the range in AWS time from the minute of the first warm-up request to one minute from now."""
        first = self.clock.at_wall(self.began - self.warm_up_seconds)
        start = first - timedelta(seconds=first.timestamp() % MINUTE_SECONDS)
        return start, self.clock.now() + timedelta(seconds=MINUTE_SECONDS)

    def _seconds(self, moment: datetime) -> float:
        return self.clock.to_wall(moment) - self.began


def _stretch(row: Mapping[str, Any]) -> Interval:
    return Interval(**{name: row[name] for name in _FIELDS}, name=row.get("name", ""), asked_rps=row.get("asked_rps"))
