"""The record of a tuning job: its state and its training jobs, as DescribeHyperParameterTuningJob shows them.

Only the runner changes a record, and only to what has happened. Thread-safe. Holds no process and no file.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from localaws.sagemaker.training.record import FAILURE_REASON_CHARACTERS
from localaws.sagemaker.tuning.requests import TuningRequest
from localaws.sagemaker.tuning.stopping import not_improving
from localaws.sagemaker.tuning.trials import Trial, best_of

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
TRAINING_COUNTERS = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
OBJECTIVE_COUNTERS = ("Succeeded", "Pending", "Failed")


class TuningJobRecord:
    """One tuning job. The attributes with moto's names are what moto's tagging looks at."""

    def __init__(
        self,
        request: TuningRequest,
        arn: str,
        parents: Sequence["TuningJobRecord"] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.request = request
        self.arn = arn
        self.parents = tuple(parents)
        self.tags: list[dict[str, str]] = [dict(tag) for tag in request.tags]
        self._clock = clock
        self._lock = threading.RLock()
        self._created = self._modified = clock()
        self._status = "InProgress"
        self._trials: list[Trial] = []
        self._evaluated: list[float] = []
        self._end: float | None = None
        self._failure: str | None = None

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def status(self) -> str:
        with self._lock:
            return self._status

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def creation_time(self) -> datetime:
        return _stamp(self._created)

    @property
    def last_modified_time(self) -> datetime:
        with self._lock:
            jobs = [trial.job.last_modified_time for trial in self._trials]
            return max([_stamp(self._modified), *jobs])

    @property
    def trials(self) -> list[Trial]:
        """The training jobs so far, in the order in which they were started."""
        with self._lock:
            return list(self._trials)

    @property
    def evaluated(self) -> list[float]:
        """The objectives that the search knows, in the order in which they came."""
        with self._lock:
            return list(self._evaluated)

    def add(self, trial: Trial) -> None:
        """Take note of a training job that was started."""
        with self._lock:
            self._trials.append(trial)
            self._modified = self._clock()

    def evaluate(self, value: float) -> None:
        """Take note of an objective that the search was told."""
        with self._lock:
            self._evaluated.append(value)

    def ask_to_stop(self) -> bool:
        """Show that a stop was asked for; False when the job has ended, so that there is nothing to stop."""
        with self._lock:
            if self._status == "InProgress":
                self._status = "Stopping"
                self._modified = self._clock()
            return self._status not in TERMINAL

    def finish(self, status: str, failure: str | None = None) -> None:
        """Enter the terminal `status`; `failure` becomes FailureReason, cut to 1,024 characters."""
        with self._lock:
            self._failure = failure[:FAILURE_REASON_CHARACTERS] if failure else None
            self._end = self._modified = self._clock()
            self._status = status

    def summary(self) -> dict[str, Any]:
        """Return the job's row in ListHyperParameterTuningJobs."""
        with self._lock:
            counters = Counter(trial.counter for trial in self._trials)
            objectives = Counter(trial.objective_status for trial in self._trials)
            return {
                "HyperParameterTuningJobName": self.name,
                "HyperParameterTuningJobArn": self.arn,
                "HyperParameterTuningJobStatus": self._status,
                "Strategy": self.request.strategy,
                "CreationTime": self.creation_time,
                "LastModifiedTime": self.last_modified_time,
                "TrainingJobStatusCounters": {name: counters[name] for name in TRAINING_COUNTERS},
                "ObjectiveStatusCounters": {name: objectives[name] for name in OBJECTIVE_COUNTERS},
                "ResourceLimits": self.request.echo["HyperParameterTuningJobConfig"]["ResourceLimits"],
                **({"HyperParameterTuningEndTime": _stamp(self._end)} if self._end else {}),
            }

    def describe(self) -> dict[str, Any]:
        """Return DescribeHyperParameterTuningJob's reply."""
        with self._lock:
            shown = self.summary()
            del shown["Strategy"], shown["ResourceLimits"]
            return {
                **self.request.echo,
                **shown,
                **self._best(),
                "TuningJobCompletionDetails": {
                    "NumberOfTrainingJobsObjectiveNotImproving": not_improving(self._evaluated, self.request.objective)
                },
                "ConsumedResources": {"RuntimeInSeconds": round((self._end or self._clock()) - self._created)},
                **({"FailureReason": self._failure} if self._failure else {}),
            }

    def row_of(self, trial: Trial) -> dict[str, Any]:
        """Return a training job as a tuning job shows it."""
        name = self.request.definition.get("DefinitionName")
        return {**({"TrainingJobDefinitionName": name} if name else {}), **trial.summary()}

    def _best(self) -> dict[str, Any]:
        best = best_of(self._trials)
        found = {"BestTrainingJob": self.row_of(best)} if best else {}
        if self.parents:
            every = [(record, trial) for record in (self, *self.parents) for trial in record.trials]
            overall = best_of(trial for _, trial in every)
            owner = next((record for record, trial in every if trial is overall), None)
            if overall and owner:
                row = {**owner.row_of(overall), "TuningJobName": owner.name}
                found["OverallBestTrainingJob"] = row
        return found


def _stamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
