"""Runs a tuning job from its start to its end: proposes, starts training jobs, learns what became of them.

Each job has one thread. The training jobs are ordinary ones, started as CreateTrainingJob starts them. States follow
what happened: `Completed` once enough training jobs have ended, or a criterion of completion is met and the training
jobs that ran are stopped.
"""

import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException

from localaws.core import Core
from localaws.errors import AwsError
from localaws.sagemaker.jobs.runner import STOP_GRACE_SECONDS
from localaws.sagemaker.training.runner import TrainingRunner
from localaws.sagemaker.tuning.record import TuningJobRecord
from localaws.sagemaker.tuning.search import Proposal, Search, search_for
from localaws.sagemaker.tuning.stopping import is_hopeless, not_improving, reaches
from localaws.sagemaker.tuning.trials import Trial

POLL_SECONDS = 0.05
ATTEMPTS = 5  # after which a tuning job without any success fails
CHILDREN_SECONDS = 300.0  # for training jobs to upload what they have, beyond the 120 s that they have to stop
QUOTA_SECONDS = 600.0  # for which a job of which nothing runs waits for instances of the account, in emulated seconds
RETRY_SECONDS = 1.0

NO_SUCCESS = (  # https://github.com/aws/amazon-sagemaker-examples/issues/2436
    f"No training job succeeded after {ATTEMPTS} attempts. Please take a look at the training job failures to get more "
    "details."
)
ALL_FAILED = "All training jobs failed. Please take a look at the training job failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {count} training jobs. Please ensure that the custom algorithm is "
    "emitting the objective metric as defined by the regular expression provided."
)


StartJob = Callable[[Mapping[str, Any]], TrainingRunner]


@dataclass(frozen=True)
class End:
    """How a tuning job ends; `failure` is its FailureReason."""

    status: str
    failure: str | None = None


class TuningRunner:
    """Runs one tuning job. `start` returns at once; `stop` and `close` may come from any thread at any time."""

    def __init__(self, core: Core, record: TuningJobRecord, start_job: StartJob) -> None:
        self.record = record
        self._request = record.request
        self._start_job = start_job
        self._scale = core.settings.time_scale
        self._search: Search
        self._running: list[Trial] = []
        self._has_more = True
        self._next: Proposal | None = None
        self._blocked_since: float | None = None  # because the account has no instances left
        self._retry_at = 0.0
        self._deadline = time.monotonic() + self._request.max_runtime_seconds
        self._is_stopping = threading.Event()
        self._is_closing = threading.Event()
        self._judged: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name=f"tuning {record.name}", daemon=True)

    def start(self) -> None:
        """Begin; the record tells what follows."""
        self._thread.start()

    def stop(self) -> bool:
        """Have the training jobs stopped and no other started; False when the tuning job has ended already."""
        if not self.record.ask_to_stop():
            return False
        self._is_stopping.set()
        return True

    def close(self, timeout_seconds: float = 15.0) -> None:
        """Start nothing more, because the server ends or forgets the job; the training jobs are closed by theirs."""
        self._is_closing.set()
        self._is_stopping.set()
        self._thread.join(timeout_seconds)

    # --- the job ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            end = self._tune()
        except (AwsError, ServiceException) as error:
            end = End("Failed", f"ClientError: {error.message}")
        except Exception as error:  # noqa: BLE001 the job must not stay InProgress for ever, whatever went wrong
            traceback.print_exc(file=sys.stderr)
            end = End("Failed", f"InternalServerError: {error!r}")
        try:
            self._stop_running()
        except Exception as error:  # noqa: BLE001 as above
            traceback.print_exc(file=sys.stderr)
            end = End("Failed", f"InternalServerError: {error!r}")
        self.record.finish(end.status, end.failure)

    def _tune(self) -> End:
        self._search = search_for(
            self._request.strategy,
            self._request.ranges,
            self._request.objective,
            seed=self._request.seed,
            resource=self._request.resource,
        )
        self._learn_from_parents()
        while True:
            self._collect()
            end = self._end()
            if end is not None:
                return end
            self._stop_early()
            self._launch()
            self._is_stopping.wait(POLL_SECONDS)

    def _learn_from_parents(self) -> None:
        for parent in self.record.parents:
            for trial in parent.trials:
                if trial.value is not None:
                    self._search.learn({**parent.request.static, **trial.values}, trial.value)

    def _end(self) -> End | None:
        """Return how the job ends now, None while it goes on."""
        request, evaluated = self._request, self.record.evaluated
        if self._is_stopping.is_set():
            return End("Stopped")
        if request.target is not None and any(reaches(each, request.target, request.objective) for each in evaluated):
            return End("Completed")
        if request.patience is not None and not_improving(evaluated, request.objective) >= request.patience:
            return End("Completed")
        if time.monotonic() >= self._deadline:
            return End("Completed")
        return self._failure() or self._exhausted()

    def _failure(self) -> End | None:
        if self.record.evaluated:
            return None
        over = [trial for trial in self.record.trials if trial not in self._running]  # of which the search was told
        if len(over) < min(ATTEMPTS, self._request.max_jobs):
            return None
        if all(trial.job.training_job_status == "Failed" for trial in over):
            return End("Failed", NO_SUCCESS if len(over) >= ATTEMPTS else ALL_FAILED)
        return End("Failed", NO_OBJECTIVE.format(count=len(over)))

    def _exhausted(self) -> End | None:
        is_over = not self._has_more and not self._running
        return End("Completed") if is_over and all(trial.is_settled for trial in self.record.trials) else None

    # --- the training jobs --------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        for trial in [each for each in self._running if each.is_over]:
            self._running.remove(trial)
            value = trial.value
            self._search.tell(trial.number, value)
            if value is not None:
                self.record.evaluate(value)

    def _launch(self) -> None:
        while self._has_more and len(self._running) < self._request.max_parallel:
            self._next = self._next or self._search.propose()
            if self._next is None:
                self._has_more = False
            elif not self._begin(self._next):
                return
            self._next = None

    def _begin(self, proposal: Proposal) -> bool:
        """Start a training job; False while the account has no instances left for it.

        Raises:
            AwsError, ServiceException: it cannot be started, or there were no instances for too long.
        """
        now = time.monotonic()
        if now < self._retry_at:
            return False
        name = f"{self.record.name}-{proposal.number + 1:03}-{secrets.token_hex(4)}"
        try:
            runner = self._start_job(self._request.training_job(name, self.record.arn, proposal.values))
        except AwsError as error:
            self._blocked_since = self._blocked_since or now
            is_over = not self._running and now - self._blocked_since >= QUOTA_SECONDS / self._scale
            if error.code != "ResourceLimitExceeded" or is_over:
                raise
            self._retry_at = now + RETRY_SECONDS
            return False
        self._blocked_since = None
        trial = Trial(proposal.number, proposal.values, self._request.objective, runner)
        self._running.append(trial)
        self.record.add(trial)
        self._has_more = len(self.record.trials) < self._request.max_jobs
        return True

    def _stop_early(self) -> None:
        if not self._request.stops_early and self._request.resource is None:
            return
        for trial in self._running:
            curve = trial.curve()
            if self._search.should_stop(trial.number, curve) or self._is_hopeless(trial, curve):
                trial.runner.stop()

    def _is_hopeless(self, trial: Trial, curve: list[float]) -> bool:
        judged = self._judged.get(trial.number, 0)
        if not self._request.stops_early or len(curve) == judged:
            return False
        self._judged[trial.number] = len(curve)
        others = [each.curve() for each in self.record.trials if each.value is not None]
        lengths = range(judged + 1, len(curve) + 1)
        return any(is_hopeless(curve[:length], others, self._request.objective) for length in lengths)

    def _stop_running(self) -> None:
        """Stop the training jobs that still run and wait for their end.

        Raises:
            TimeoutError: they did not end.
        """
        for trial in self._running:
            trial.runner.stop()
        deadline = time.monotonic() + STOP_GRACE_SECONDS / self._scale + CHILDREN_SECONDS
        while not self._is_closing.is_set() and not all(trial.is_settled for trial in self.record.trials):
            if time.monotonic() >= deadline:
                raise TimeoutError("training jobs of the tuning job did not end when they were stopped")
            time.sleep(POLL_SECONDS)
        self._collect()
