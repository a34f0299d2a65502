"""Runs a training job from its start to its end: hosts, channels, the run, checkpoints, outputs.

What it shares with processing jobs is in `localaws/sagemaker/jobs/runner.py`. `Training` once the hosts run,
`Completed` when all of them ended with 0 and the model is in S3.
"""

import time
from collections.abc import Mapping

from localaws.core import Core
from localaws.errors import AwsError
from localaws.sagemaker.jobs.hosts import Host, stop_hosts
from localaws.sagemaker.jobs.isolation import Isolation
from localaws.sagemaker.jobs.network import Network
from localaws.sagemaker.jobs.runner import GANG_GRACE_SECONDS, End, JobRunner, Kind, Outcome, as_hosts_see
from localaws.sagemaker.jobs.supply import RETRYING
from localaws.sagemaker.jobs.sync import FolderSync, Repeated
from localaws.sagemaker.training.configuration import configuration
from localaws.sagemaker.training.failures import failure_of, failure_reason, first_to_fail
from localaws.sagemaker.training.metrics import MetricScanner
from localaws.sagemaker.training.output import upload_outputs
from localaws.sagemaker.training.record import TrainingJobRecord

KIND = Kind(
    name="training",
    log_group="/aws/sagemaker/TrainingJobs",
    home="jobs",
    folders=("input/config", "input/data", "model", "output/data", "code"),
    staged=("input/data/code", "input/data/sm_drivers"),
)


class TrainingRunner(JobRunner[TrainingJobRecord]):
    """Runs one job; `interrupt` may come from any thread at any time."""

    def __init__(self, core: Core, record: TrainingJobRecord, isolation: Isolation) -> None:
        super().__init__(core, record, record.request, KIND, isolation)
        self._request = record.request
        self._scanner = MetricScanner(self._request.metrics, self._request.name, core.metrics, self._role)
        self._interrupted_host: str | None = None
        self._run_seconds = 0.0

    def interrupt(self, host: str) -> None:
        """Take the instance of `host` back, as happens to spot capacity: SIGTERM, 120 emulated seconds, SIGKILL."""
        self._interrupted_host = host

    def curve(self, metric: str) -> list[float]:
        """Return the values of a metric in the job's log so far."""
        return self._scanner.curve(metric)

    # --- the job ------------------------------------------------------------------------------------------------------

    def _attempts(self) -> Outcome:
        number = 1
        while True:
            outcome = self._attempt(number)
            if outcome.end is not End.INTERRUPTED:
                return outcome
            self.record.move("Interrupted")
            if self._is_past_waiting():
                return Outcome(End.MAX_WAIT)
            number += 1
            self.record.move("Starting")

    def _lacks_instances(self) -> None:
        self.record.move("Starting", message=RETRYING)

    def _finish(self, outcome: Outcome) -> None:
        self._core.logs.flush()
        self.record.keep_metrics(self._scanner.final())
        end = End.STOPPED if outcome.end is End.COMPLETED and self._is_stopping.is_set() else outcome.end
        if end in (End.MAX_RUNTIME, End.MAX_WAIT):
            self.record.finish("Stopped", secondary=end.value)
        else:
            self.record.finish(end.value, failure=outcome.failure)

    def _carry_out(self, network: Network) -> Outcome:
        self.record.move("Downloading")
        self._prepare_hosts(network)
        checkpoints = self._restore_checkpoints()
        if self._is_stopping.is_set():
            return Outcome(End.STOPPED)
        self.record.move("Training")
        outcome = self._train(network, checkpoints)
        if outcome.end in (End.COMPLETED, End.STOPPED, End.MAX_RUNTIME) and not self._is_closing.is_set():
            self.record.move("Uploading")
            upload_outputs(self._request, [each.host.ml for each in self._running], self._scratch, self._sealed)
        return outcome

    # --- before the run -----------------------------------------------------------------------------------------------

    def _configuration(self, host: Host, network: Network) -> Mapping[str, object]:
        return configuration(self._request, host.name, network.interface)

    def _variables(self) -> Mapping[str, str]:
        return {"TRAINING_JOB_NAME": self._request.name, "TRAINING_JOB_ARN": self.record.arn}

    def _restore_checkpoints(self) -> FolderSync | None:
        config = self._request.checkpoints
        if config is None:
            return None
        folders = [each.host.folder(config.local_path) for each in self._running]
        for folder in folders:
            folder.path.mkdir(parents=True, exist_ok=True)
        sync = FolderSync(config.store, folders, self._objects)
        sync.restore()
        return sync

    # --- the run ------------------------------------------------------------------------------------------------------

    def _train(self, network: Network, checkpoints: FolderSync | None) -> Outcome:
        started = time.monotonic()
        syncing = Repeated(lambda: self._upload_checkpoints(checkpoints, final=False))
        try:
            return self._run_hosts(network, deadline=started + self._request.max_runtime_seconds - self._run_seconds)
        finally:
            self._run_seconds += time.monotonic() - started
            syncing.end()
            self._upload_checkpoints(checkpoints, final=True)

    def _read_line(self, line: str) -> None:
        self._scanner.scan(line)

    def _look(self) -> None:
        self.record.keep_metrics(self._scanner.final())

    def _wants_end(self) -> End | None:
        if self._supply.takes_back():
            self.interrupt(self._request.hosts[-1])
        if self._interrupted_host is not None:
            return End.INTERRUPTED
        return End.MAX_WAIT if self._is_past_waiting() else None

    def _stop_for(self, end: End) -> None:
        grace = self._grace(end)
        if end is End.INTERRUPTED:
            taken, self._interrupted_host = self._interrupted_host, None
            stop_hosts([each for each in self._running if each.host.name == taken], grace)
            grace = GANG_GRACE_SECONDS
        stop_hosts(self._running, grace)

    def _is_past_waiting(self) -> bool:
        limit = self._request.max_wait_seconds
        return limit is not None and time.time() - self.record.creation_time.timestamp() >= limit

    def _failure(self) -> str:
        first = first_to_fail(self._running)
        failure = failure_of(first.host)
        stop_hosts(self._running, GANG_GRACE_SECONDS)
        return failure_reason(first, failure[1] if failure else None)

    def _upload_checkpoints(self, checkpoints: FolderSync | None, *, final: bool) -> None:
        if checkpoints is None or self._is_closing.is_set():
            return
        try:
            checkpoints.upload(final=final)
        except (AwsError, OSError) as error:
            why = as_hosts_see(str(error), self._running)
            for each in self._running:
                each.say(f"localaws: checkpoints were not uploaded to {checkpoints.store.uri}: {why}")
