"""One training job of a tuning job, as the search and Describe look at it.

The objective is the metric's last value, as DescribeTrainingJob's FinalMetricDataList has it: what is best by one is
best by the other.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localaws.sagemaker.training.record import TrainingJobRecord
from localaws.sagemaker.training.runner import TrainingRunner
from localaws.sagemaker.tuning.requests import Objective

SERVICE_FAULTS = ("InternalServerError", "CapacityError")


@dataclass(frozen=True)
class Trial:
    """A training job, and the values of the hyperparameters that were searched for."""

    number: int
    values: Mapping[str, str]
    objective: Objective
    runner: TrainingRunner

    @property
    def job(self) -> TrainingJobRecord:
        """What DescribeTrainingJob shows."""
        return self.runner.record

    @property
    def is_over(self) -> bool:
        """Whether the training job has ended."""
        return self.job.is_terminal

    @property
    def value(self) -> float | None:
        """The objective of a job that ended without failing; None without one."""
        return self._value(self.job.final_metrics()) if self._counts() else None

    @property
    def shown_value(self) -> float | None:
        """The same as far as DescribeTrainingJob shows it already."""
        return self._value(self.job.shown_metrics()) if self._counts() else None

    @property
    def is_settled(self) -> bool:
        """Whether the training job has ended and its metrics are shown."""
        return self.is_over and self.shown_value == self.value

    @property
    def objective_status(self) -> str:
        """The API's word for what is known of the objective."""
        if not self.is_settled:
            return "Pending"
        return "Failed" if self.value is None else "Succeeded"

    @property
    def counter(self) -> str:
        """The counter of training jobs of the API that the job is in."""
        status = self.job.training_job_status
        if status == "Failed":
            is_service = (self.job.failure_reason or "").startswith(SERVICE_FAULTS)
            return "RetryableError" if is_service else "NonRetryableError"
        return status if self.is_over else "InProgress"

    def curve(self) -> list[float]:
        """Return the objective's values in the job's log so far."""
        return self.runner.curve(self.objective.metric)

    def summary(self) -> dict[str, Any]:
        """Return the job's row in ListTrainingJobsForHyperParameterTuningJob."""
        described = self.job.describe()
        names = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime")
        value = self.shown_value
        metric = {"Type": self.objective.type, "MetricName": self.objective.metric, "Value": value}
        return {
            **{name: described[name] for name in (*names, "TrainingJobStatus", "FailureReason") if name in described},
            "TunedHyperParameters": dict(self.values),
            "ObjectiveStatus": self.objective_status,
            **({"FinalHyperParameterTuningJobObjectiveMetric": metric} if value is not None else {}),
        }

    def _counts(self) -> bool:
        return self.job.training_job_status in ("Completed", "Stopped")

    def _value(self, metrics: Mapping[str, float]) -> float | None:
        value = metrics.get(self.objective.metric)
        return value if value is not None and math.isfinite(value) else None


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Return the trial of the best shown objective, the first of equals; None without one."""
    shown: Sequence[tuple[float, Trial]] = [
        (trial.objective.cost(value), trial) for trial in trials if (value := trial.shown_value) is not None
    ]
    return min(shown, key=lambda each: each[0])[1] if shown else None
