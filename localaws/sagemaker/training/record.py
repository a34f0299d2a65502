"""The record of a training job: its states and their times, as DescribeTrainingJob shows them.

Only the runner changes a record, and only to what has happened. Thread-safe. Holds no process and no file.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from localaws.sagemaker.training.metrics import MetricValue
from localaws.sagemaker.training.requests import TrainingRequest

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
FAILURE_REASON_CHARACTERS = 1024
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Interrupted": "Training job interrupted: its spot capacity was taken back",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job exceeded MaxWaitTimeInSeconds provided",
}


@dataclass(frozen=True)
class Transition:
    """One secondary status and the Unix times between which it held."""

    status: str
    start: float
    end: float | None
    message: str


class TrainingJobRecord:
    """One job. The attributes with moto's names are what moto's Search and tagging look at."""

    def __init__(
        self,
        request: TrainingRequest,
        arn: str,
        *,
        clock: Callable[[], float] = time.time,
        metrics_late_seconds: float | None = None,
    ) -> None:
        self.request = request
        self.arn = arn
        self.tags: list[dict[str, str]] = [dict(tag) for tag in request.tags]
        self._clock = clock
        self._metrics_late_seconds = metrics_late_seconds  # real ones, after the end; None: at once
        self._lock = threading.RLock()
        self._created = self._modified = clock()
        self._status = "InProgress"
        self._transitions: list[Transition] = []
        self._training_start: float | None = None
        self._end: float | None = None
        self._failure: str | None = None
        self._metrics: Sequence[MetricValue] = ()
        self.move("Starting")

    @property
    def training_job_name(self) -> str:
        return self.request.name

    @property
    def training_job_status(self) -> str:
        with self._lock:
            return self._status

    @property
    def secondary_status(self) -> str:
        with self._lock:
            return self._transitions[-1].status

    @property
    def creation_time(self) -> datetime:
        return _stamp(self._created)

    @property
    def last_modified_time(self) -> datetime:
        with self._lock:
            return _stamp(self._modified)

    @property
    def failure_reason(self) -> str | None:
        with self._lock:
            return self._failure

    @property
    def is_terminal(self) -> bool:
        return self.training_job_status in TERMINAL

    def move(self, secondary: str, *, message: str | None = None) -> None:
        """Enter a secondary status; the one before ends now."""
        with self._lock:
            now = self._modified = self._clock()
            if self._transitions:
                self._transitions[-1] = replace(self._transitions[-1], end=now)
            ends = now if secondary in TERMINAL or secondary.startswith("Max") else None
            self._transitions.append(Transition(secondary, now, ends, message or MESSAGES[secondary]))
            if secondary == "Downloading" and self._training_start is None:
                self._training_start = now

    def ask_to_stop(self) -> bool:
        """Show that a stop was asked for; False when the job has ended, so that there is nothing to stop."""
        with self._lock:
            if self._status == "InProgress":
                self._status = "Stopping"
                self.move("Stopping")
            return self._status not in TERMINAL

    def keep_metrics(self, metrics: Sequence[MetricValue]) -> None:
        """Show these as FinalMetricDataList."""
        with self._lock:
            self._metrics = tuple(metrics)

    def final_metrics(self) -> dict[str, float]:
        """Return the last value of each metric so far, also before Describe shows it."""
        with self._lock:
            return {each.name: each.value for each in self._metrics}

    def shown_metrics(self) -> dict[str, float]:
        """Return the last value of each metric that Describe shows."""
        with self._lock:
            return self.final_metrics() if self._shows_metrics() else {}

    def finish(self, status: str, *, secondary: str | None = None, failure: str | None = None) -> None:
        """Enter the terminal `status`; `failure` becomes FailureReason, cut to 1,024 characters."""
        with self._lock:
            self._failure = failure[:FAILURE_REASON_CHARACTERS] if failure else None
            self.move(secondary or status)
            self._status = status
            self._end = self._modified

    def summary(self) -> dict[str, Any]:
        """Return the job's row in ListTrainingJobs."""
        with self._lock:
            return {
                "TrainingJobName": self.request.name,
                "TrainingJobArn": self.arn,
                "CreationTime": self.creation_time,
                "LastModifiedTime": self.last_modified_time,
                "TrainingJobStatus": self._status,
                "SecondaryStatus": self.secondary_status,
                **({"TrainingEndTime": _stamp(self._end)} if self._end else {}),
            }

    def describe(self) -> dict[str, Any]:
        """Return DescribeTrainingJob's reply."""
        with self._lock:
            return {**self.request.echo, **self.summary(), **self._progress(), **self._outcome()}

    gen_response_object = describe  # moto's Search asks for it by this name

    def _progress(self) -> dict[str, Any]:
        described: dict[str, Any] = {"SecondaryStatusTransitions": [_transition(each) for each in self._transitions]}
        if self._training_start:
            described["TrainingStartTime"] = _stamp(self._training_start)
        if self._metrics and self._shows_metrics():
            described["FinalMetricDataList"] = [
                {"MetricName": each.name, "Value": each.value, "Timestamp": _stamp(each.timestamp)}
                for each in self._metrics
            ]
        return described

    def _shows_metrics(self) -> bool:
        late = self._metrics_late_seconds
        return late is None or (self._end is not None and self._end + late <= self._clock())

    def _outcome(self) -> dict[str, Any]:
        described: dict[str, Any] = {"ModelArtifacts": {"S3ModelArtifacts": self.request.output_of("model").uri}}
        if self._failure:
            described["FailureReason"] = self._failure
        if self._end and self._training_start:
            described["TrainingTimeInSeconds"] = max(1, round(self._end - self._training_start))
            described["BillableTimeInSeconds"] = max(1, round(self._billable_seconds()))
        return described

    def _billable_seconds(self) -> float:
        """Return the wall time in which instances were held: not while a spot job waits for new ones."""
        held = ("Downloading", "Training", "Uploading", "Stopping")
        return sum((each.end or 0.0) - each.start for each in self._transitions if each.status in held)


def _transition(transition: Transition) -> Mapping[str, Any]:
    described = {
        "Status": transition.status,
        "StartTime": _stamp(transition.start),
        "StatusMessage": transition.message,
    }
    return {**described, "EndTime": _stamp(transition.end)} if transition.end else described


def _stamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
