"""One instance of an endpoint: a model-server process, its connections and slots, and whether it answers `/ping`."""

import http.client
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

import psutil

from localaws.core import Core
from localaws.errors import LocalAwsError
from localaws.processes import Process
from localaws.sagemaker.endpoint_capacity import DEFAULT_QUEUE_SIZE, Slots
from localaws.sagemaker.endpoint_connections import ConnectionPool
from localaws.sagemaker.endpoint_errors import DeploymentFailed, failure_reason
from localaws.sagemaker.endpoint_plan import SCALE_IN_GRACE_SECONDS, VariantPlan

LOG_TAIL_LINES = 30
PING_TIMEOUT_SECONDS = 2.0  # AWS: a ping must be answered within 2 s
PING_POLL_SECONDS = 0.02
LEAST_STARTUP_SECONDS = 5.0  # a process takes real time to start, however fast the emulated clock runs
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")


@dataclass(frozen=True)
class Launch:
    """What all instances of a variant have in common. `model_dir` is shared and read by all of them."""

    endpoint_name: str
    variant: VariantPlan
    model_dir: Path
    folder: Path

    @property
    def log_group(self) -> str:
        """The CloudWatch log group of the endpoint."""
        return f"/aws/sagemaker/Endpoints/{self.endpoint_name}"


class Instance:
    """A model server. `outstanding`, `peak`, `slots` belong to the event loop of the router, the rest to threads.

    `slots`: what binds the instance's capacity; None, as by default, when nothing does.
    """

    def __init__(self, core: Core, launch: Launch, *, threads: int) -> None:
        """Start the process; `wait_until_ready` says whether it serves.

        Raises:
            DeploymentFailed: it could not be started, because its role does not exist or localaws shuts down.
        """
        self.identity = f"i-{secrets.token_hex(8)}"
        self.outstanding = 0
        self.peak = 0  # the most outstanding since it was taken last
        self.is_ready = False
        self.failed_pings = 0
        self._cpu: tuple[float, float] | None = None  # when it was looked at, and the seconds used by then
        self._core = core
        self._launch = launch
        self.bind()
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._reserved = _reserve_port()
        self.port: int = self._reserved.getsockname()[1]
        self.connections = ConnectionPool(self.port)
        self._stopping = threading.Lock()
        try:
            self.process = self._spawn(threads)
        except (LocalAwsError, OSError) as error:
            self._reserved.close()
            raise DeploymentFailed(failure_reason(f"The instance could not be started: {error}", [])) from error

    def bind(self) -> None:
        """Follow the capacity of the instance's type as it is now; requests that have a slot keep it."""
        limit = self._core.hosting_capacity.limit(self._launch.variant.instance_type)
        queue_size = self._launch.variant.model.environment.get("SAGEMAKER_MODEL_JOB_QUEUE_SIZE", DEFAULT_QUEUE_SIZE)
        self.slots = Slots(limit, queue_size=int(queue_size)) if limit else None

    def take_peak(self) -> int:
        """Return the most requests that were outstanding at once since this was asked last."""
        peak, self.peak = self.peak, self.outstanding
        return peak

    def take_cpu_percent(self) -> float | None:
        """Return the model server's CPU use since this was asked last, 100 for each core; None the first time."""
        try:
            used = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return None
        now, seconds = time.monotonic(), used.user + used.system
        before, self._cpu = self._cpu, (now, seconds)
        return 100 * (seconds - before[1]) / (now - before[0]) if before else None

    def wait_until_ready(self) -> None:
        """Wait for the first passing ping.

        Raises:
            DeploymentFailed: the process ended, or did not pass within its start-up time; the process is gone then.
        """
        allowed = self._launch.variant.startup_seconds / self._core.settings.time_scale
        deadline = time.monotonic() + max(allowed, LEAST_STARTUP_SECONDS)
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.answers_ping():
                self._reserved.close()
                self.is_ready = True
                return
            time.sleep(PING_POLL_SECONDS)
        ended = self.process.poll()
        self.stop(grace_seconds=0.0)
        self.log(
            f"{self.identity} {'ended with status ' + str(ended) if ended is not None else 'did not answer /ping'}"
        )
        raise DeploymentFailed(
            failure_reason(
                f"The primary container for production variant {self._launch.variant.name} did not pass the ping "
                "health check. Please check CloudWatch logs for this endpoint.",
                list(self._tail),
            )
        )

    def answers_ping(self) -> bool:
        """Return whether `GET /ping` is answered with 200 within 2 seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, `grace_seconds` to finish requests in flight, SIGKILL. Returns when nothing of it is left."""
        self.is_ready = False
        with self._stopping:
            self._reserved.close()
            if self.process.poll() is None:
                self.process.stop(grace_seconds)

    def scale_in(self) -> None:
        """Stop as AWS does on scale-in: SIGTERM, 30 emulated seconds, SIGKILL."""
        self.stop(SCALE_IN_GRACE_SECONDS / self._core.settings.time_scale)

    def log(self, line: str) -> None:
        """Write a line to the instance's log stream."""
        self._core.logs.write(self._launch.log_group, self._stream, [line])

    @property
    def _stream(self) -> str:
        return f"{self._launch.variant.name}/{self.identity}"

    def _spawn(self, threads: int) -> Process:
        folder = self._launch.folder / self.identity
        folder.mkdir(parents=True)
        return self._core.processes.spawn(
            [sys.executable, "-m", "localaws.sagemaker.hosting"],
            name=f"endpoint {self._launch.endpoint_name} {self._stream}",
            env=self._environment(folder, threads),
            cwd=folder,
            on_line=self._on_line,
        )

    def _environment(self, home: Path, threads: int) -> Mapping[str, str]:
        model = self._launch.variant.model
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        return {
            **passed_on,
            **limits,
            "HOME": str(home),
            "PYTHONUNBUFFERED": "1",
            "PIP_NO_INDEX": "1",
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            **self._core.credentials.child_environment(model.role_arn, "SageMaker"),
            **model.environment,
            "SM_MODEL_DIR": str(self._launch.model_dir),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
        }

    def _on_line(self, line: str) -> None:
        self._tail.append(line)
        self.log(line)


def _reserve_port() -> socket.socket:
    """Return a socket bound to a free port and not listening: nobody else can take the port until the server has it."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved
