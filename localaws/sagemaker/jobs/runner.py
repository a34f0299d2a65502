"""Runs a job on hosts from its start to its end: what training and processing jobs have in common.

Each job has one thread. States follow what happened: a job is `Completed` when all of its hosts ended with 0 and what
they left is in S3. Everything is kept in a folder of the job and removed at the end, except for the end of each host's
log.
"""

import contextlib
import shutil
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from localaws.auth.grants import Grant
from localaws.container_view import as_in_container
from localaws.core import Core
from localaws.errors import AwsError, StopFailed
from localaws.permissions.roles import LogsOfRole, Role
from localaws.sagemaker.jobs.channels import DownloadError, fill_channels
from localaws.sagemaker.jobs.hosts import Host, HostProcess, LogStream, stop_hosts
from localaws.sagemaker.jobs.isolation import Isolation
from localaws.sagemaker.jobs.network import NamespaceError, Network, open_network, shared_network
from localaws.sagemaker.jobs.requests import ML, JobRequest
from localaws.sagemaker.jobs.rewriting import rewrite_command, rewrite_environment, rewrite_staged
from localaws.sagemaker.jobs.supply import GIVEN_UP, Supply
from localaws.sagemaker.jobs.sync import UploadError
from localaws.sagemaker.roles import PRINCIPAL
from localaws.vpc import NO_INTERFACE, OF_SAGEMAKER, may_join

STOP_GRACE_SECONDS = 120.0  # AWS's time between SIGTERM and SIGKILL, in emulated seconds
GANG_GRACE_SECONDS = 2.0  # for the other hosts when one has failed
POLL_SECONDS = 0.02


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


@dataclass(frozen=True)
class Kind:
    """What all jobs of one operation have. `home`: where their folders are, below localaws's home.

    `folders`: those of /opt/ml that are there at the start. Scripts in `staged` are rewritten for hosts without
    namespaces.
    """

    name: str
    log_group: str
    home: str
    folders: tuple[str, ...]
    staged: tuple[str, ...]


class Record(Protocol):
    """What a runner tells the record of a job."""

    @property
    def arn(self) -> str: ...

    def ask_to_stop(self) -> bool: ...

    def finish(self, status: str, *, failure: str | None = None) -> None: ...


RecordOf = TypeVar("RecordOf", bound=Record)


class JobRunner(ABC, Generic[RecordOf]):
    """Runs one job. `start` returns at once; `stop` and `close` may come from any thread at any time."""

    def __init__(self, core: Core, record: RecordOf, request: JobRequest, kind: Kind, isolation: Isolation) -> None:
        self.record = record
        self.folder = self._scratch = core.settings.home / kind.home / request.name
        self._core, self._kind, self._job, self._isolation = core, kind, request, isolation
        self._grace_seconds = STOP_GRACE_SECONDS / core.settings.time_scale
        self._role = Role(core.authority, request.role_arn, "SageMaker")
        self._objects = core.objects_of(self._role)
        self._sealed = core.objects_of(self._role, request.output_key)
        self._logs = LogsOfRole(core.logs, self._role)
        self._is_stopping = threading.Event()
        self._is_closing = threading.Event()
        self._supply = Supply(core, request)
        self._running: list[HostProcess] = []
        self._grants: list[Grant] = []
        self._thread = threading.Thread(target=self._run, name=f"{kind.name} {request.name}", daemon=True)

    def start(self) -> None:
        """Begin; the record tells what follows."""
        self._thread.start()

    def stop(self) -> bool:
        """Have the hosts stopped: SIGTERM, 120 emulated seconds, SIGKILL; False when the job has ended already."""
        if not self.record.ask_to_stop():
            return False
        self._is_stopping.set()
        return True

    def close(self, timeout_seconds: float = 15.0) -> None:
        """End the job at once, because the server ends or forgets it."""
        self._is_closing.set()
        self._is_stopping.set()
        with contextlib.suppress(StopFailed):
            stop_hosts(self._running, 0.0)  # they may be in the middle of their 120 seconds
        self._thread.join(timeout_seconds)

    # --- what each kind of job does in its own way --------------------------------------------------------------------

    @abstractmethod
    def _attempts(self) -> Outcome:
        """Run the job's hosts by `_attempt`, once or until they are not interrupted."""

    @abstractmethod
    def _carry_out(self, network: Network) -> Outcome:
        """Take the hosts, whose folders are there, through all steps."""

    @abstractmethod
    def _configuration(self, host: Host, network: Network) -> Mapping[str, object]:
        """Return the JSON files that a host finds, by their paths below /opt/ml."""

    @abstractmethod
    def _variables(self) -> Mapping[str, str]:
        """Return the environment variables that tell the job's name and the like."""

    @abstractmethod
    def _failure(self) -> str:
        """Return the FailureReason, one of the hosts having failed; the others may still run."""

    @abstractmethod
    def _finish(self, outcome: Outcome) -> None:
        """Tell the record how the job ended."""

    def _read_line(self, line: str) -> None:
        """Look at a line of a host's log."""

    def _look(self) -> None:
        """Do what is to be done again and again while the hosts run."""

    def _lacks_instances(self) -> None:
        """Tell that instances are looked for."""

    def _wants_end(self) -> End | None:
        """Return why the hosts are to end, for a reason of this kind of job."""
        return None

    def _stop_for(self, end: End) -> None:
        """End the hosts: SIGTERM, the time that they have, SIGKILL."""
        stop_hosts(self._running, self._grace(end))

    def _grace(self, _: End) -> float:
        return 0.0 if self._is_closing.is_set() else self._grace_seconds

    # --- the job ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._finish(self._outcome())
        except (DownloadError, UploadError, AwsError) as error:  # the last: of what is kept in S3, or of the role
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

    def _outcome(self) -> Outcome:
        self._core.propagation.settle(self._job.role_arn)
        if self._job.vpc is not None and not may_join(self._role, OF_SAGEMAKER):
            return Outcome(End.FAILED, f"InternalServerError: {NO_INTERFACE}")
        if self._supply.is_empty:
            return self._look_for_instances()
        return self._attempts()

    def _look_for_instances(self) -> Outcome:
        """Look for instances where there are none: until a spot job's time to wait is over, another for a while."""
        self._lacks_instances()
        limit = self._supply.give_up_at()
        while not self._is_stopping.wait(POLL_SECONDS):
            end = self._wants_end()
            if end is not None:
                return Outcome(end)
            if time.monotonic() >= limit:
                return Outcome(End.FAILED, GIVEN_UP)
        return Outcome(End.STOPPED)

    def _attempt(self, number: int) -> Outcome:
        folder = self._scratch = self.folder / f"attempt-{number}"
        folder.mkdir(parents=True)
        network = self._open_network(folder)
        try:
            self._running = self._with_logs(self._hosts(folder))
            return self._carry_out(network)
        finally:
            stop_hosts(self._running, 0.0)
            network.close()
            shutil.rmtree(folder, ignore_errors=True)

    # --- before the run -----------------------------------------------------------------------------------------------

    def _open_network(self, folder: Path) -> Network:
        refusal = self._isolation.refusal(folder)
        if refusal is not None and self._job.is_isolated:
            raise NamespaceError(f"EnableNetworkIsolation is not possible here: {refusal}")
        if refusal is not None:
            return shared_network()
        settings = self._core.settings
        address = None if self._job.is_isolated else (settings.host, settings.port)
        name = f"{self._kind.name}/{self._job.name}/network"
        count = self._job.instance_count
        return open_network(self._core.processes, folder, name=name, hosts=count, address=address)

    def _hosts(self, folder: Path) -> list[Host]:
        home, hosts, folders = self._core.settings.home, self._job.hosts, self._kind.folders
        return [
            Host.prepare(folder, name, home=home, index=index, hosts=hosts, folders=folders)
            for index, name in enumerate(hosts)
        ]

    def _with_logs(self, hosts: Sequence[Host]) -> list[HostProcess]:
        stamp = int(time.time())
        streams = [
            LogStream(self._logs, self._kind.log_group, f"{self._job.name}/{host.name}-{stamp}") for host in hosts
        ]
        processes = self._core.processes
        return [
            HostProcess(host, stream, self._read_line, processes=processes)
            for host, stream in zip(hosts, streams, strict=True)
        ]

    def _prepare_hosts(self, network: Network) -> None:
        """Bring the input data and the configuration to the hosts."""
        ml = [each.host.ml for each in self._running]
        fill_channels(self._job.channels, ml, self._objects, is_cancelled=self._is_stopping.is_set)
        for each in self._running:
            each.host.write_configuration(self._configuration(each.host, network))
            if not network.is_isolated:
                count = rewrite_staged(each.host, network, self._kind.staged)
                each.say(
                    "localaws: hosts cannot have namespaces of their own here "
                    f"({self._isolation.refusal(self.folder)}), so {count} files now name {each.host.ml}, not /opt/ml"
                )

    # --- the run ------------------------------------------------------------------------------------------------------

    def _run_hosts(self, network: Network, *, deadline: float) -> Outcome:
        """Start the hosts and watch them until all have ended; nothing of them runs when this returns."""
        try:
            self._launch(network)
            self._supply.run_begins()
            return self._watch(deadline)
        finally:
            stop_hosts(self._running, 0.0)
            self._end_grants()

    def _launch(self, network: Network) -> None:
        for each in self._running:
            given = {**self._variables(), **self._credentials()}
            environment = each.host.environment(self._job, given, network=network)
            command: Sequence[str] = self._job.command
            if not network.is_isolated:
                environment = rewrite_environment(environment, each.host)
                command = rewrite_command(command, each.host)
            each.start(
                each.host.launch_command(network, command),
                environment,
                name=f"{self._kind.name}/{self._job.name}/{each.host.name}",
            )

    def _credentials(self) -> dict[str, str]:
        if self._job.is_isolated:
            return {"AWS_REGION": self._core.settings.region, "AWS_DEFAULT_REGION": self._core.settings.region}
        grant = self._core.credentials.grant(self._job.role_arn, "SageMaker", PRINCIPAL, self.record.arn)
        self._grants.append(grant)
        return self._core.credentials.granted_environment(grant)

    def _end_grants(self) -> None:
        while self._grants:
            self._core.credentials.end_grant(self._grants.pop())

    def _watch(self, deadline: float) -> Outcome:
        while True:
            statuses = [each.status() for each in self._running]
            if any(status not in (None, 0) for status in statuses):
                return Outcome(End.FAILED, as_hosts_see(self._failure(), self._running))
            if all(status == 0 for status in statuses):
                return Outcome(End.COMPLETED)
            end = self._reason_to_stop(deadline)
            if end is not None:
                self._stop_for(end)
                return Outcome(end)
            self._look()
            self._is_stopping.wait(POLL_SECONDS)

    def _reason_to_stop(self, deadline: float) -> End | None:
        if self._is_stopping.is_set():
            return End.STOPPED
        return self._wants_end() or (End.MAX_RUNTIME if time.monotonic() >= deadline else None)

    # --- after it -----------------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        if self._is_closing.is_set():
            return
        for each in self._running:
            with contextlib.suppress(OSError):  # CloudWatch Logs has them too
                (self.folder / f"{each.host.name}.log").write_text("\n".join(each.tail) + "\n")


def as_hosts_see(text: str, running: Sequence[HostProcess]) -> str:
    """Return a text with the paths at which the hosts see their files, in place of those of this machine."""
    for each in running:
        text = as_in_container(text, each.host.ml, str(ML))
    return text
