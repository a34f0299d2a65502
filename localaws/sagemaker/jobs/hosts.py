"""The hosts (instances) of a job: their folders, environment and processes.

Where the kernel has user namespaces, every host has a network (`programs/job_network.py`), /opt/ml, process table
and host name of its own (`programs/job_host.py`). Without them, the paths in the staged scripts are rewritten
instead (`rewriting.py`). Touches only the job's folder.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from localaws.container_view import TMP, View, guard_proc
from localaws.handover import handed_over
from localaws.permissions.roles import LogsOfRole
from localaws.processes import Process, ProcessTable
from localaws.processors import usable_processors
from localaws.programs import launch_command
from localaws.programs.layout import address_of_host
from localaws.sagemaker.jobs.job_files import JobFolder
from localaws.sagemaker.jobs.network import SYSTEM_PATH, Network
from localaws.sagemaker.jobs.requests import ML, JobRequest

TAIL_LINES = 200
LEFT_BYTES = 4096  # at most; what Describe shows of it has 1024 characters
TAIL_LINE_CHARACTERS = 2000
PRIVATE = "/opt/localaws"  # short: a socket's path has at most 107 bytes

RESOLVER = Path("/etc/resolv.conf")
NO_NAMESERVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""A host has no way to a name server. That of this machine would be waited for, 10 s for each name; where nobody
listens, the answer comes at once."""


@dataclass(frozen=True)
class Host:
    """One instance's folders. `ml` is what it sees as /opt/ml, `home`, localaws's own, what it never sees."""

    name: str
    root: Path
    ml: Path
    home: Path
    hosts: tuple[str, ...]
    cpus: tuple[int, ...]

    @classmethod
    def prepare(
        cls, folder: Path, name: str, *, home: Path, index: int, hosts: tuple[str, ...], folders: Sequence[str]
    ) -> "Host":
        """Make the folders of host number `index` below `folder`; `folders` are those of its /opt/ml."""
        root = folder / name
        host = cls(name, root, root / "ml", home, hosts, share_of_cpus(index, len(hosts)))
        host.ml.mkdir(parents=True)
        for part in folders:
            (host.ml / part).mkdir(parents=True)
        for part in ("private/tmp", "private/home", "view"):
            (root / part).mkdir(parents=True)
        names = "".join(f"{address_of_host(number)} {each}\n" for number, each in enumerate(hosts))
        (root / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{names}")
        (root / "resolv.conf").write_text(NO_NAMESERVER)
        return host

    def write_configuration(self, files: Mapping[str, object]) -> None:
        """Write JSON files that a container finds, by their paths below /opt/ml."""
        for name, content in files.items():
            (self.ml / name).write_text(json.dumps(content))

    def environment(self, request: JobRequest, given: Mapping[str, str], *, network: Network) -> dict[str, str]:
        """Return the container's environment; the request's variables win over defaults, not over what is `given`."""
        threads = max(1, len(self.cpus) or usable_processors() // len(self.hosts))
        private = PRIVATE if network.is_isolated else str(self.root / "private")
        return {
            "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
            "HOME": f"{private}/home",
            "TMPDIR": TMP if network.is_isolated else f"{private}/tmp",  # noqa: S108 not the system's
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "OMP_NUM_THREADS": str(threads),
            "AWS_EC2_METADATA_DISABLED": "true",
            **request.environment,
            **given,
        }

    def launch_command(self, network: Network, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` in this host."""
        view = View(
            self.root / "view",
            writable={str(ML): self.ml, PRIVATE: self.root / "private", TMP: self.root / "private" / "tmp"},
            files={"/etc/hosts": self.root / "hosts", **_present(RESOLVER.resolve(), self.root / "resolv.conf")},
            home=self.home,
        )
        config = {
            "network": network.namespaces[self.hosts.index(self.name)] if network.is_isolated else None,
            "plan": view.plan(),
            "guard": list(guard_proc()),
            "cpus": list(self.cpus),
            "folder": str(ML if network.is_isolated else self.ml),
            "command": list(command),
        }
        return launch_command("job_host", config)

    def folder(self, path: PurePosixPath) -> JobFolder:
        """Return a folder under /opt/ml."""
        return JobFolder(self.ml, path.relative_to(ML))

    def left(self, name: str) -> tuple[float, bytes] | None:
        """Return when /opt/ml/output/`name` was written (Unix time) and how it begins; None without such a file."""
        try:
            with JobFolder(self.ml, PurePath("output")).open(PurePath(name)) as file:
                return os.fstat(file.fileno()).st_mtime, file.read(LEFT_BYTES)
        except OSError:
            return None


def _present(place: Path, file: Path) -> dict[str, Path]:
    return {str(place): file} if place.exists() else {}


@dataclass(frozen=True)
class LogStream:
    """One host's stream in CloudWatch Logs, written with the job's role."""

    logs: LogsOfRole
    group: str
    name: str

    def write(self, line: str) -> None:
        """Append one event."""
        self.logs.write(self.group, self.name, [line])


class HostProcess:
    """A host that runs: its log stream, the tail of its log, and when it ended."""

    def __init__(self, host: Host, log: LogStream, on_line: Callable[[str], None], *, processes: ProcessTable) -> None:
        self.host = host
        self.log = log
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.ended: float | None = None
        self._on_line = on_line
        self._processes = processes
        self._process: Process | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, name: str) -> None:
        """Start the command, which alone gets the environment; its lines go to the stream and to `on_line`."""
        with handed_over({"variables": dict(environment)}) as (early, descriptors):
            self._process = self._processes.spawn(
                command, name=name, env=early, cwd=self.host.root, on_line=self.say, pass_fds=descriptors
            )

    def say(self, line: str) -> None:
        """Put a line into the host's log; CloudWatch has no empty events."""
        self.tail.append(line[:TAIL_LINE_CHARACTERS])
        if line:
            self.log.write(line)
            self._on_line(line)

    def status(self) -> int | None:
        """Return the exit status when the host has ended; 128 + n when signal n ended it."""
        status = self._process.poll() if self._process else None
        if status is None:
            return None
        if self.ended is None:
            self.ended = time.time()
        return status if status >= 0 else 128 - status

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, `grace_seconds`, SIGKILL; nothing of the host runs when this returns."""
        if self._process:
            self._process.stop(grace_seconds)


def stop_hosts(hosts: Sequence[HostProcess], grace_seconds: float) -> None:
    """Stop hosts all at once.

    Raises:
        StopFailed: something of one outlived SIGKILL.
    """
    with ThreadPoolExecutor(max(1, len(hosts)), thread_name_prefix="stop hosts") as pool:
        list(pool.map(lambda host: host.stop(grace_seconds), hosts))


def share_of_cpus(index: int, hosts: int) -> tuple[int, ...]:
    """Return the processors of host number `index`: an equal share, so that a second host adds what the first lacked.

    Empty (no restriction) for a single host, and when there are more hosts than processors.
    """
    if hosts == 1 or not hasattr(os, "sched_getaffinity"):
        return ()
    available = sorted(os.sched_getaffinity(0))
    each = len(available) // hosts
    return tuple(available[index * each : (index + 1) * each])
