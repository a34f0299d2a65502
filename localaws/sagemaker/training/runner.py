"""Runs a training job from its start to its end: hosts, channels, the run, checkpoints, outputs.

Each job has one thread. States follow what happened: `Training` once the hosts run, `Completed` when all of them ended
with 0 and the model is in S3. Everything is kept in `home/jobs/<name>` and removed at the end, except for the end of
each host's log.
"""

import contextlib
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from localaws.auth.grants import Grant
from localaws.core import Core
from localaws.errors import AwsError, StopFailed
from localaws.permissions.roles import LogsOfRole, Role
from localaws.sagemaker.roles import PRINCIPAL
from localaws.sagemaker.training.channels import DownloadError, fill_channels
from localaws.sagemaker.training.failures import as_hosts_see, failure_reason, first_to_fail
from localaws.sagemaker.training.hosts import Host, HostProcess, stop_hosts
from localaws.sagemaker.training.isolation import Isolation
from localaws.sagemaker.training.metrics import MetricScanner
from localaws.sagemaker.training.network import NamespaceError, Network, open_network, shared_network
from localaws.sagemaker.training.output import CheckpointSync, UploadError, upload_outputs
from localaws.sagemaker.training.record import TrainingJobRecord
from localaws.sagemaker.training.rewriting import rewrite_command, rewrite_environment, rewrite_staged
from localaws.sagemaker.training.supply import GIVEN_UP, RETRYING, Supply
from localaws.vpc import NO_INTERFACE, OF_SAGEMAKER, may_join

STOP_GRACE_SECONDS = 120.0  # AWS's time between SIGTERM and SIGKILL, in emulated seconds
GANG_GRACE_SECONDS = 2.0  # for the other hosts when one has failed
POLL_SECONDS = 0.02
CHECKPOINT_SECONDS = 1.0


class End(Enum):
    """Why the hosts of an attempt no longer run."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    MAX_RUNTIME = "MaxRuntimeExceeded"
    MAX_WAIT = "MaxWaitTimeExceeded"
    INTERRUPTED = "Interrupted"


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended; `failure` is its FailureReason."""

    end: End
    failure: str | None = None


class TrainingRunner:
    """Runs one job. `start` returns at once; `stop`, `interrupt` and `close` may come from any thread at any time."""

    def __init__(self, core: Core, record: TrainingJobRecord, isolation: Isolation) -> None:
        self.record = record
        self.folder = core.settings.home / "jobs" / record.request.name
        self._core = core
        self._request = record.request
        self._isolation = isolation
        self._grace_seconds = STOP_GRACE_SECONDS / core.settings.time_scale
        self._role = Role(core.authority, self._request.role_arn, "SageMaker")
        self._objects = core.objects_of(self._role)
        self._logs = LogsOfRole(core.logs, self._role)
        self._scanner = MetricScanner(self._request.metrics, self._request.name, core.metrics, self._role)
        self._is_stopping = threading.Event()
        self._is_closing = threading.Event()
        self._interrupted_host: str | None = None
        self._supply = Supply(core, record.request)
        self._run_seconds = 0.0
        self._running: list[HostProcess] = []
        self._grants: list[Grant] = []
        self._thread = threading.Thread(target=self._run, name=f"training {self._request.name}", daemon=True)

    def start(self) -> None:
        """Begin; the record tells what follows."""
        self._thread.start()

    def stop(self) -> bool:
        """Have the hosts stopped: SIGTERM, 120 emulated seconds, SIGKILL; False when the job has ended already."""
        if not self.record.ask_to_stop():
            return False
        self._is_stopping.set()
        return True

    def interrupt(self, host: str) -> None:
        """Take the instance of `host` back, as happens to spot capacity: SIGTERM, 120 emulated seconds, SIGKILL."""
        self._interrupted_host = host

    def curve(self, metric: str) -> list[float]:
        """Return the values of a metric in the job's log so far."""
        return self._scanner.curve(metric)

    def close(self, timeout_seconds: float = 15.0) -> None:
        """End the job at once, because the server ends or forgets it."""
        self._is_closing.set()
        self._is_stopping.set()
        with contextlib.suppress(StopFailed):
            stop_hosts(self._running, 0.0)  # they may be in the middle of their 120 seconds
        self._thread.join(timeout_seconds)

    # --- the job ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._finish(self._attempts())
        except (DownloadError, UploadError, AwsError) as error:  # the last: of checkpoints, or of the role
            self._finish_failed(f"ClientError: {error}")
        except (StopFailed, NamespaceError) as error:
            self._finish_failed(f"InternalServerError: {error}")
        except OSError as error:  # a full disk, no more processes, and the like
            self._finish_failed(f"InternalServerError: localaws failed: {error}")
        except Exception as error:  # noqa: BLE001 the job must not stay InProgress for ever, whatever went wrong
            traceback.print_exc(file=sys.stderr)
            self._finish_failed(f"InternalServerError: {error!r}")
        finally:
            self._tidy()

    def _finish_failed(self, reason: str) -> None:
        self.record.finish("Failed", failure=as_hosts_see(reason, self._running))

    def _attempts(self) -> Outcome:
        self._core.propagation.settle(self._request.role_arn)
        if self._request.vpc is not None and not may_join(self._role, OF_SAGEMAKER):
            return Outcome(End.FAILED, f"InternalServerError: {NO_INTERFACE}")
        if self._supply.is_empty:
            return self._look_for_instances()
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

    def _look_for_instances(self) -> Outcome:
        """Look for instances where there are none: until a spot job's time to wait is over, another for a while."""
        self.record.move("Starting", message=RETRYING)
        limit = self._supply.give_up_at()
        while not self._is_stopping.wait(POLL_SECONDS):
            if self._is_past_waiting():
                return Outcome(End.MAX_WAIT)
            if time.monotonic() >= limit:
                return Outcome(End.FAILED, GIVEN_UP)
        return Outcome(End.STOPPED)

    def _finish(self, outcome: Outcome) -> None:
        self._core.logs.flush()
        self.record.keep_metrics(self._scanner.final())
        end = End.STOPPED if outcome.end is End.COMPLETED and self._is_stopping.is_set() else outcome.end
        if end in (End.MAX_RUNTIME, End.MAX_WAIT):
            self.record.finish("Stopped", secondary=end.value)
        else:
            self.record.finish(end.value, failure=outcome.failure)

    def _attempt(self, number: int) -> Outcome:
        folder = self.folder / f"attempt-{number}"
        folder.mkdir(parents=True)
        network = self._open_network(folder)
        try:
            hosts = [
                Host.prepare(folder, name, home=self._core.settings.home, index=index, hosts=self._request.hosts)
                for index, name in enumerate(self._request.hosts)
            ]
            self._running = self._with_logs(hosts)
            return self._carry_out(folder, network, self._running)
        finally:
            stop_hosts(self._running, 0.0)
            network.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _carry_out(self, folder: Path, network: Network, running: Sequence[HostProcess]) -> Outcome:
        self.record.move("Downloading")
        checkpoints = self._prepare_hosts(network, running)
        if self._is_stopping.is_set():
            return Outcome(End.STOPPED)
        self.record.move("Training")
        outcome = self._train(network, running, checkpoints)
        if outcome.end in (End.COMPLETED, End.STOPPED, End.MAX_RUNTIME) and not self._is_closing.is_set():
            self.record.move("Uploading")
            sealed = self._core.objects_of(self._role, self._request.output_key)
            upload_outputs(self._request, [each.host.ml for each in running], folder, sealed)
        return outcome

    # --- before the run -----------------------------------------------------------------------------------------------

    def _open_network(self, folder: Path) -> Network:
        refusal = self._isolation.refusal(folder)
        if refusal is not None and self._request.is_isolated:
            raise NamespaceError(f"EnableNetworkIsolation is not possible here: {refusal}")
        if refusal is not None:
            return shared_network()
        settings = self._core.settings
        address = None if self._request.is_isolated else (settings.host, settings.port)
        name = f"training/{self._request.name}/network"
        count = self._request.instance_count
        return open_network(self._core.processes, folder, name=name, hosts=count, address=address)

    def _with_logs(self, hosts: Sequence[Host]) -> list[HostProcess]:
        stamp = int(time.time())
        return [
            HostProcess(
                host,
                f"{self._request.name}/{host.name}-{stamp}",
                self._scanner.scan,
                processes=self._core.processes,
                logs=self._logs,
            )
            for host in hosts
        ]

    def _prepare_hosts(self, network: Network, running: Sequence[HostProcess]) -> CheckpointSync | None:
        data = [each.host.ml / "input" / "data" for each in running]
        fill_channels(self._request.channels, data, self._objects, is_cancelled=self._is_stopping.is_set)
        for each in running:
            each.host.write_configuration(self._request, network)
            if not network.is_isolated:
                count = rewrite_staged(each.host, network)
                each.say(
                    "localaws: hosts cannot have namespaces of their own here "
                    f"({self._isolation.refusal(self.folder)}), so {count} files now name {each.host.ml}, not /opt/ml"
                )
        return self._restore_checkpoints(running)

    def _restore_checkpoints(self, running: Sequence[HostProcess]) -> CheckpointSync | None:
        config = self._request.checkpoints
        if config is None:
            return None
        folders = [each.host.folder(config.local_path) for each in running]
        for folder in folders:
            folder.path.mkdir(parents=True, exist_ok=True)
        sync = CheckpointSync(config.store, folders, self._objects)
        sync.restore()
        return sync

    def _launch(self, network: Network, running: Sequence[HostProcess]) -> None:
        for each in running:
            credentials = self._credentials()
            environment = each.host.environment(self._request, self.record.arn, credentials, network=network)
            command: Sequence[str] = self._request.command
            if not network.is_isolated:
                environment = rewrite_environment(environment, each.host)
                command = rewrite_command(command, each.host)
            each.start(
                each.host.launch_command(network, command),
                environment,
                name=f"training/{self._request.name}/{each.host.name}",
            )

    def _credentials(self) -> dict[str, str]:
        if self._request.is_isolated:
            return {"AWS_REGION": self._core.settings.region, "AWS_DEFAULT_REGION": self._core.settings.region}
        grant = self._core.credentials.grant(self._request.role_arn, "SageMaker", PRINCIPAL, self.record.arn)
        self._grants.append(grant)
        return self._core.credentials.granted_environment(grant)

    def _end_grants(self) -> None:
        while self._grants:
            self._core.credentials.end_grant(self._grants.pop())

    # --- the run ------------------------------------------------------------------------------------------------------

    def _train(self, network: Network, running: Sequence[HostProcess], checkpoints: CheckpointSync | None) -> Outcome:
        started = time.monotonic()
        syncing = _Repeated(lambda: self._upload_checkpoints(checkpoints, running, final=False))
        try:
            self._launch(network, running)
            self._supply.training_begins()
            return self._watch(running, deadline=started + self._request.max_runtime_seconds - self._run_seconds)
        finally:
            self._run_seconds += time.monotonic() - started
            stop_hosts(running, 0.0)
            self._end_grants()
            syncing.end()
            self._upload_checkpoints(checkpoints, running, final=True)

    def _watch(self, running: Sequence[HostProcess], *, deadline: float) -> Outcome:
        while True:
            statuses = [each.status() for each in running]
            if any(status not in (None, 0) for status in statuses):
                return self._fail(running)
            if all(status == 0 for status in statuses):
                return Outcome(End.COMPLETED)
            end = self._reason_to_stop(deadline)
            if end is not None:
                self._stop_for(end, running)
                return Outcome(end)
            self.record.keep_metrics(self._scanner.final())
            self._is_stopping.wait(POLL_SECONDS)

    def _reason_to_stop(self, deadline: float) -> End | None:
        if self._is_stopping.is_set():
            return End.STOPPED
        if self._supply.takes_back():
            self.interrupt(self._request.hosts[-1])
        if self._interrupted_host is not None:
            return End.INTERRUPTED
        if self._is_past_waiting():
            return End.MAX_WAIT
        return End.MAX_RUNTIME if time.monotonic() >= deadline else None

    def _stop_for(self, end: End, running: Sequence[HostProcess]) -> None:
        grace = 0.0 if self._is_closing.is_set() else self._grace_seconds
        if end is End.INTERRUPTED:
            taken, self._interrupted_host = self._interrupted_host, None
            stop_hosts([each for each in running if each.host.name == taken], grace)
            grace = GANG_GRACE_SECONDS
        stop_hosts(running, grace)

    def _is_past_waiting(self) -> bool:
        limit = self._request.max_wait_seconds
        return limit is not None and time.time() - self.record.creation_time.timestamp() >= limit

    def _fail(self, running: Sequence[HostProcess]) -> Outcome:
        first = first_to_fail(running)
        failure = first.host.failure()
        stop_hosts(running, GANG_GRACE_SECONDS)
        return Outcome(End.FAILED, as_hosts_see(failure_reason(first, failure[1] if failure else None), running))

    def _upload_checkpoints(
        self, checkpoints: CheckpointSync | None, running: Sequence[HostProcess], *, final: bool
    ) -> None:
        if checkpoints is None or self._is_closing.is_set():
            return
        try:
            checkpoints.upload(final=final)
        except (AwsError, OSError) as error:
            why = as_hosts_see(str(error), running)
            for each in running:
                each.say(f"localaws: checkpoints were not uploaded to {checkpoints.store.uri}: {why}")

    # --- after it -----------------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        if self._is_closing.is_set():
            return
        for each in self._running:
            with contextlib.suppress(OSError):  # CloudWatch Logs has them too
                (self.folder / f"{each.host.name}.log").write_text("\n".join(each.tail) + "\n")


class _Repeated:
    """Does something every second until its end."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Return when it is no longer being done."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(CHECKPOINT_SECONDS):
            self._act()
