"""What a new version of a function is judged by while it gets a share of the calls: our own photos, and alarms.

The function answers most failures of its own with a status and does not raise, so that Lambda's metric `Errors` does
not count them. So our photos' answers are judged too, and published as a metric that an alarm watches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from tasks.promotion.guards import Guard, Limits, Subject, metric_values, usual_p99
from tasks.promotion.probes import sending
from tasks.run.clock import AwsClock
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.records import DatasetRef
from tasks.serving.asking import ask_alias, event_of, scores_of
from tasks.serving.endpoint_plan import guard_prefix
from tasks.serving.function import Shift

NAMESPACE, OWN_NAMESPACE, OWN_METRIC = "AWS/Lambda", "kennel", "FailedAnswers"
CALLS_A_MINUTE = 10
"""Of the new version, on AWS's clock: that none comes in a period of an alarm has a probability of e^-10."""
MOST_A_MINUTE = 300
LEAST_MILLISECONDS = 50.0
SLOW_PERIODS = 2
"""A new environment's first calls are slow, whichever version it has: so long the slowness has to last."""


def canary_prefix(run_id: str) -> str:
    """Return how the names of the alarms begin that take a new version of a run's function back."""
    return f"{guard_prefix(run_id)}function-"


def version_subject(shift: Shift, version: str) -> Subject:
    """Return the calls through the alias that a version executed, as alarms watch them."""
    function = shift.function
    resource = {"FunctionName": function.name, "Resource": f"{function.name}:{function.alias}"}
    return Subject(
        f"version {version} of function {function.name}", NAMESPACE, {**resource, "ExecutedVersion": version}
    )


def answers_subject(shift: Shift) -> Subject:
    """Return the new version's answers to our photos, as an alarm watches them."""
    name, version = shift.function.name, shift.function.version
    dimensions = {"FunctionName": name, "ExecutedVersion": version}
    return Subject(f"version {version} of function {name}", OWN_NAMESPACE, dimensions)


def canary_guards(run: Run, shift: Shift, limits: Limits) -> tuple[Guard, ...]:
    """Return the alarms of the new version; the former one's p99 of the last hour is what is usual.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    prefix, subject = canary_prefix(run.id), version_subject(shift, shift.function.version)
    errors = Guard(f"{prefix}errors", "Errors", "Average", limits.error_share, subject)
    answers = Guard(f"{prefix}answers", OWN_METRIC, "Average", limits.error_share, answers_subject(shift))
    usual = usual_p99(run.aws, version_subject(shift, shift.former), "Duration")
    if usual is None:
        return (errors, answers)
    most = max(usual * limits.slower, LEAST_MILLISECONDS)
    return (errors, answers, Guard(f"{prefix}duration", "Duration", "p99", most, subject, SLOW_PERIODS))


def counted_calls(run: Run, shift: Shift, metric: str, since: datetime) -> int:
    """Return the new version's "Invocations" or "Errors" since a time of AWS's clock, everybody's calls included.

    Raises:
        AwsFailed: CloudWatch refused.
    """
    subject = version_subject(shift, shift.function.version)
    return round(sum(metric_values(run.aws, subject, metric, "Sum", since)))


class Photos:
    """Asks the alias about photos; `sent` were answered, the new version answered `touched`, `failed` of them badly.

    Nothing is counted any more once `is_counting` is False, because the alias then has no shares.
    """

    def __init__(self, run: Run, shift: Shift, weight: float) -> None:
        self._run, self._shift = run, shift
        self._classes = run.need(DatasetRef).classes
        self._pause_seconds = 60.0 / min(MOST_A_MINUTE, CALLS_A_MINUTE / weight)
        self.sent = self.touched = self.failed = 0
        self.is_counting = True

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send photos inside the block, so many that the new version gets some in each period of an alarm.

        Raises:
            MalformedAnswer, AwsFailed: the photos cannot be read.
        """
        with sending(self._run, self._ask, self._pause_seconds, "deploy"):
            yield

    def _ask(self, photo: bytes) -> str | None:
        answered = ask_alias(self._run.aws, self._shift.function, event_of(photo))
        refused = answered.failure or self._judged(answered.text)
        is_new = answered.version == self._shift.function.version
        if self.is_counting:
            self.sent += 1
            self.touched += is_new
            self.failed += is_new and bool(refused)
        if is_new:
            self._publish(1.0 if refused else 0.0)
        return refused or None

    def _judged(self, text: str) -> str:
        try:
            scores_of(text, self._classes, "deploy")
        except StageFailed as error:
            return f"{error.what}: {error.why}"
        return ""

    def _publish(self, value: float) -> None:
        subject = answers_subject(self._shift)
        point = {
            "MetricName": OWN_METRIC,
            "Dimensions": subject.dimension_list,
            "Timestamp": AwsClock.from_settings(self._run.settings).now(),
            "Value": value,
        }
        with aws_boundary(f"metric {OWN_NAMESPACE}/{OWN_METRIC}"):
            self._run.aws.client("cloudwatch").put_metric_data(Namespace=OWN_NAMESPACE, MetricData=[point])
