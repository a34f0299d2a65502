"""One instance of an endpoint: a model-server process, its connections and slots, and whether it answers `/ping`."""

import http.client
import math
import os
import secrets
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from localaws.auth.grants import Grant
from localaws.container_view import TMP, View, as_in_container
from localaws.containers import Program
from localaws.core import Core
from localaws.errors import LocalAwsError
from localaws.permissions.roles import LogsOfRole
from localaws.process_tree import memory_bytes
from localaws.processes import Process
from localaws.processors import usable_processors
from localaws.sagemaker.endpoints.capacity import DEFAULT_QUEUE_SIZE, Slots
from localaws.sagemaker.endpoints.connections import ConnectionPool
from localaws.sagemaker.endpoints.errors import DeploymentFailed, failure_reason
from localaws.sagemaker.endpoints.plan import SCALE_IN_GRACE_SECONDS, VariantPlan
from localaws.sagemaker.model_server import LISTENER, PINGS_EARLY, TOKEN, TOKEN_HEADER
from localaws.sagemaker.model_server.archive import MODEL_FOLDER
from localaws.sagemaker.roles import PRINCIPAL

LOG_TAIL_LINES = 30
KEPT_LINES = 10_000  # of a spare, until it is an instance; a model's loading writes some dozen
PING_TIMEOUT_SECONDS = 2.0  # AWS: a ping must be answered within 2 s
PING_POLL_SECONDS = 0.02
LEAST_STARTUP_SECONDS = 20.0  # a process takes real time to start, however fast the emulated clock runs
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
INFERENCE_LIMIT = "INFERENCE_NUM_THREADS"  # where a rule limits the capacity: the name that training/serve.py looks for
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")


@dataclass(frozen=True)
class Launch:
    """What all instances of a variant have in common. `model_dir` is shared and read by all of them.

    `arn`: the endpoint's; `logs`: CloudWatch Logs as the model's role reaches them.
    """

    endpoint_name: str
    variant: VariantPlan
    model_dir: Path
    folder: Path
    arn: str
    logs: LogsOfRole

    @property
    def log_group(self) -> str:
        """The CloudWatch log group of the endpoint."""
        return f"/aws/sagemaker/Endpoints/{self.endpoint_name}"


class Instance:
    """A model server. `outstanding`, `peak`, `asked_at`, `slots` belong to the router's event loop, others to threads.

    `slots`: what binds the instance's capacity; None, as by default, when nothing does. A spare is a model server that
    is no instance yet: its lines are kept back, its role's credentials are refused, until `become_instance`.
    """

    def __init__(self, core: Core, launch: Launch, *, fleet_size: int, is_spare: bool = False) -> None:
        """Start the process; `wait_until_ready` says whether it serves. `fleet_size`: how many share the machine.

        Raises:
            DeploymentFailed: it could not be started, because its role does not exist or localaws shuts down.
        """
        self.identity = f"i-{secrets.token_hex(8)}"
        self.outstanding = 0
        self.peak = 0  # the most outstanding since it was taken last
        self.asked_at = float("-inf")  # when it got its last request, by the monotonic clock
        self.is_ready = False
        self.failed_pings = 0
        self.used_credentials = False  # as a spare, which on AWS would not exist yet
        self._is_spare = is_spare
        self.grant: Grant | None = None  # while its process lives
        self._kept_lines: deque[str] | None = deque(maxlen=KEPT_LINES) if is_spare else None
        self._saying = threading.Lock()
        self._cpu: tuple[float, float] | None = None  # when it was looked at, and the seconds used by then
        self._core = core
        self._launch = launch
        self._logs = launch.logs
        self.bind()
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        listener = _take_port()
        self.port: int = listener.getsockname()[1]
        self._token = secrets.token_hex(16)
        self.connections = ConnectionPool(self.port, f"{TOKEN_HEADER}: {self._token}\r\n".encode())
        self._stopping = threading.Lock()
        try:
            threads = inference_threads(core, launch.variant.instance_type, fleet_size)
            with listener:  # from then on only the process holds it, and its end frees the port
                self.process = self._spawn(listener, threads)
        except (LocalAwsError, OSError) as error:
            self._end_grant()
            raise DeploymentFailed(failure_reason(f"The instance could not be started: {error}", [])) from error

    def bind(self) -> None:
        """Follow the capacity of the instance's type as it is now; requests that have a slot keep it."""
        limit = self._core.hosting_capacity.limit(self._launch.variant.instance_type)
        queue_size = self._launch.variant.model.environment.get("SAGEMAKER_MODEL_JOB_QUEUE_SIZE", DEFAULT_QUEUE_SIZE)
        self.slots = Slots(limit, queue_size=int(queue_size)) if limit else None

    def become_instance(self) -> None:
        """Turn a spare into an instance: it may use its role, and its log is written, as if it had loaded just now."""
        self._is_spare = False
        if self.grant is not None:
            self.grant.release()
        self.tell()

    def tell(self) -> None:
        """Write the lines that were kept back, and from now on each one at once."""
        with self._saying:
            kept, self._kept_lines = self._kept_lines, None
            if kept:
                self._logs.write(self._launch.log_group, self._stream, list(kept))

    def memory_bytes(self) -> int:
        """Return the resident memory of the process and its descendants; pages that they share count for each."""
        return memory_bytes(self.process.program_pid)

    def take_peak(self) -> int:
        """Return the most requests that were outstanding at once since this was asked last."""
        peak, self.peak = self.peak, self.outstanding
        return peak

    def take_cpu_percent(self) -> float | None:
        """Return the model server's CPU use since this was asked last, 100 for each core; None the first time."""
        try:
            used = psutil.Process(self.process.program_pid).cpu_times()
        except psutil.Error:
            return None
        now, seconds = time.monotonic(), used.user + used.system
        before, self._cpu = self._cpu, (now, seconds)
        return 100 * (seconds - before[1]) / (now - before[0]) if before else None

    def wait_until_ready(self, until: float = math.inf) -> None:
        """Wait for the first passing ping, at most until a moment of the monotonic clock.

        Raises:
            DeploymentFailed: the process ended, or did not pass within its start-up time; the process is gone then.
        """
        allowed = self._launch.variant.startup_seconds / self._core.settings.time_scale
        deadline = min(until, time.monotonic() + max(allowed, LEAST_STARTUP_SECONDS))
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.is_up():
                return
            time.sleep(PING_POLL_SECONDS)
        self._give_up()

    def _give_up(self) -> NoReturn:
        ended = self.process.poll()
        self.stop(grace_seconds=0.0)
        self.log(
            f"{self.identity} {'ended with status ' + str(ended) if ended is not None else 'did not answer /ping'}"
        )
        raise DeploymentFailed(
            failure_reason(
                f"The primary container for production variant {self._launch.variant.name} did not pass the ping "
                "health check. Please check CloudWatch logs for this endpoint.",
                [as_in_container(line, self._launch.model_dir, MODEL_FOLDER) for line in self._tail],
            )
        )

    def confirm(self) -> None:
        """See that it is still ready, by one ping; wait for it if it never was.

        Raises:
            DeploymentFailed: it is not; the process is gone then.
        """
        if not self.is_ready:
            self.wait_until_ready()
        elif not self.answers_ping():
            self._give_up()

    def is_up(self) -> bool:
        """Return whether it answers its ping, from when on it is ready."""
        if not self.answers_ping():
            return False
        self.is_ready = True
        return True

    def answers_ping(self) -> bool:
        """Return whether `GET /ping` is answered with 200 within 2 seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/ping", headers={TOKEN_HEADER: self._token})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, `grace_seconds` to finish requests in flight, SIGKILL. Returns when nothing of it is left."""
        self.is_ready = False
        with self._stopping:
            if self.process.poll() is None:
                self.process.stop(grace_seconds)
            self._end_grant()  # not before: a spare that is thrown away must not get to call AWS while it ends

    def scale_in(self) -> None:
        """Stop as AWS does on scale-in: SIGTERM, 30 emulated seconds, SIGKILL."""
        self.stop(SCALE_IN_GRACE_SECONDS / self._core.settings.time_scale)

    def log(self, line: str) -> None:
        """Write a line to the instance's log stream."""
        self._logs.write(self._launch.log_group, self._stream, [line])

    @property
    def _stream(self) -> str:
        return f"{self._launch.variant.name}/{self.identity}"

    def _spawn(self, listener: socket.socket, threads: int) -> Process:
        folder, containers, seen = self._launch.folder / self.identity, self._core.containers, f"/home/{self.identity}"
        for name in ("home", "root", "tmp"):
            (folder / name).mkdir(parents=True)
        environment = self._environment(containers.place(seen, folder / "home"), threads)
        early = {PINGS_EARLY: "1"} if self._core.strictness.pings_early else {}
        program = Program(
            f"endpoint {self._launch.endpoint_name} {self._stream}",
            [sys.executable, "-m", "localaws.sagemaker.model_server"],
            {**environment, **early, LISTENER: str(listener.fileno()), TOKEN: self._token},
            folder / "home",
            inherited=[listener.fileno()],
            port=self._core.settings.port if self._core.strictness.endpoints_offline else None,
        )
        view = View(
            folder / "root",
            writable={seen: program.folder, TMP: folder / "tmp"},
            readable={MODEL_FOLDER: self._launch.model_dir},
            home=self._core.settings.home,
        )
        return containers.spawn(program, view, on_line=self._on_line)

    def _environment(self, home: str, threads: int) -> Mapping[str, str]:
        model = self._launch.variant.model
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if self._core.containers.refusal() is None:
            passed_on.pop("TMPDIR", None)  # it has a /tmp of its own
        self.grant = self._core.credentials.grant(model.role_arn, "SageMaker", PRINCIPAL, self._launch.arn)
        if self._is_spare:
            self.grant.hold(self._note_use)
        limits = dict.fromkeys(THREAD_LIMITS, str(threads))
        if self.slots is not None:
            limits[INFERENCE_LIMIT] = str(threads)
        return {
            **passed_on,
            **limits,
            "HOME": home,
            "PYTHONUNBUFFERED": "1",
            "PIP_NO_INDEX": "1",
            "SM_NUM_CPUS": str(usable_processors()),
            **self._core.credentials.granted_environment(self.grant),
            **model.environment,
            "SM_MODEL_DIR": self._core.containers.place(MODEL_FOLDER, self._launch.model_dir),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
        }

    def _on_line(self, line: str) -> None:
        self._tail.append(line)
        with self._saying:
            if self._kept_lines is not None:
                self._kept_lines.append(line)
                return
        self.log(line)

    def _note_use(self) -> None:
        self.used_credentials = True

    def _end_grant(self) -> None:
        grant, self.grant = self.grant, None
        if grant is not None:
            self._core.credentials.end_grant(grant)


def inference_threads(core: Core, instance_type: str, fleet_size: int) -> int:
    """Return on how many threads an instance computes a request: on one where a rule limits its capacity.

    A rule says that an instance is a share of this machine; spread over all cores, its requests would slow those of
    the other instances. Without one, the instances of a fleet share the cores.
    """
    if core.hosting_capacity.limit(instance_type):
        return 1
    return max(1, usable_processors() // max(1, fleet_size))


def _take_port() -> socket.socket:
    """Return a socket bound to a free port and not listening, which the model server does once it has loaded.

    It shares its port with nobody, as sockets with `SO_REUSEPORT` would with any program of this user.
    """
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.bind(("127.0.0.1", 0))
    return taken
