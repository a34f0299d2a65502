"""One execution environment: an `awslambdaric` process, its Runtime API port, its /tmp and its output.

All methods run on the event loop; only starting and ending the process leave it for a thread. The process writes
straight into a file, so that all that a handler printed is there when its answer arrives.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from localaws.functions import function_errors
from localaws.functions.deployment import Deployment, Execution, Invocation, Outcome
from localaws.functions.launch import ON_DEMAND, HeldKey, Launch, Program
from localaws.functions.lifetime import Lifetime
from localaws.functions.process_usage import Output, PeakMemory, is_running
from localaws.functions.runtime_api import RESPONSE_LIMIT_BYTES, RuntimeConnection
from localaws.peers import Address, holds
from localaws.processes import Process

INIT_SECONDS = 10.0  # AWS's limit for the init phase; a slower init goes on in the invoke phase, under its timeout
PROVISIONED_INIT_SECONDS = 130.0  # AWS's limit ahead of invocations, or the function's timeout if that is longer
EXIT_POLL_SECONDS = 0.02
EXIT_WAIT_SECONDS = 10.0


class EnvironmentGoneError(Exception):
    """A warm environment's process had ended; the event was not delivered and can go to another."""


class InitFailedError(Exception):
    """The runtime could not load the handler, ended, or took too long. `error_type` is the runtime's or Lambda's."""

    def __init__(self, error_type: str, init_ms: float) -> None:
        super().__init__(error_type)
        self.error_type = error_type
        self.init_ms = init_ms


class Environment:
    """Runs one invocation at a time for one deployment. Constructing starts nothing; `start` does.

    `on_lost`, if set, is called when the process ends while it waits for an event.
    """

    def __init__(
        self,
        deployment: Deployment,
        launch: Launch,
        initialization_type: str = ON_DEMAND,
        *,
        held_key: HeldKey | None = None,
    ) -> None:
        self.deployment = deployment
        self.initialization_type = initialization_type
        self._is_alive = True
        self.idle_since = 0.0
        self.on_lost: Callable[[Environment], None] | None = None
        identity = uuid.uuid4().hex
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{deployment.version}]{identity}"
        self._launch = launch
        self._held_key = held_key
        self._folder = launch.folder / identity
        self._process: Process | None = None
        self._is_spawned = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._next: RuntimeConnection | None = None
        self._serving: RuntimeConnection | None = None
        self._current: Invocation | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None
        self._lifetime: Lifetime | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._started_at = 0.0
        self._delivered_at = 0.0
        self._init_ms: float | None = None
        self._init_error: str | None = None
        self._is_initialised = False
        self._init_over: Callable[[], None] | None = None
        self._is_disconnected = False
        self._memory: PeakMemory | None = None
        self._output: Output | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it takes events; what has ended it, its death or its age, is the same to the pool."""
        return self._is_alive and not (self._lifetime and self._lifetime.is_over)

    @is_alive.setter
    def is_alive(self, value: bool) -> None:
        self._is_alive = value

    @property
    def pid(self) -> int | None:
        """The id of the process that all others descend from, None before it is started."""
        return self._process.pid if self._process else None

    @property
    def program_pid(self) -> int | None:
        """The id of the runtime's own process."""
        return self._process.program_pid if self._process else None

    # What the pool calls

    async def start(self) -> None:
        """Open the Runtime API port and start the process; does not wait for its init.

        Raises: NoSuchRole if the function's role is gone; OSError if no process can be made.
        """
        loop = asyncio.get_running_loop()
        self._started_at = time.perf_counter()
        self._server = await loop.create_server(lambda: RuntimeConnection(self), "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._lifetime = Lifetime(self._launch.lifetime_seconds, clock=self._launch.clock, on_end=self._retire)
        self._process = await loop.run_in_executor(self._launch.executor, self._spawn, port)
        self._is_spawned.set()
        self._memory = PeakMemory(self._process)

    def when_init_is_over(self, tell: Callable[[], None]) -> None:
        """Have this called once: when the init is over, however it went, or counts as over; at once if it is."""
        if self._is_initialised or not self.is_alive:
            tell()
        else:
            self._init_over = tell

    def end_init(self) -> None:
        """Let the init count as over, and call back whoever waits for that, once."""
        tell, self._init_over = self._init_over, None
        if tell is not None:
            tell()

    async def initialise(self) -> float:
        """Wait until the runtime asks for its first event; return how long its init took, in milliseconds.

        Raises: InitFailedError, and the environment is of no use any more.
        """
        deadline = self._started_at + max(PROVISIONED_INIT_SECONDS, self.deployment.timeout_seconds)
        while not (self._is_initialised and self.is_alive):
            failure = self._init_error
            if failure is None and (self._has_exited() or not self.is_alive):
                failure = "Runtime.ExitError"
            elif failure is None and time.perf_counter() > deadline:
                failure = "Sandbox.Timedout"
            if failure is not None:
                self.is_alive = False
                raise InitFailedError(failure, (time.perf_counter() - self._started_at) * 1000)
            await asyncio.sleep(EXIT_POLL_SECONDS)
        init_ms, self._init_ms = self._init_ms, None  # paid ahead: no invocation has to report it
        return init_ms or 0.0

    def become_cold(self, init_ms: float) -> None:
        """Have the next invocation report an init of so many milliseconds, which it waited for."""
        self._init_ms = init_ms

    def release_key(self) -> None:
        """Let the process call AWS from now on, if it might not until now."""
        if self._held_key is not None:
            self._held_key.release()

    async def run(self, invocation: Invocation) -> Execution:
        """Deliver one event and wait for its outcome: the handler's, a timeout's or the process's end.

        Raises: EnvironmentGoneError if the process had ended before it could get the event.
        """
        self._current, self._delivered_at = invocation, 0.0
        self._watch(invocation, self._delivery_limit())
        try:
            if self._next is not None:
                self._deliver()
            outcome = await invocation.outcome
            duration_ms = (time.perf_counter() - (self._delivered_at or self._started_at)) * 1000
        finally:
            self._finish()
        if self._is_over_memory() and outcome.status == "success":
            outcome = function_errors.out_of_memory(invocation.request_id)
        if outcome.status == "timeout":
            self.is_alive, duration_ms = False, self.deployment.timeout_seconds * 1000.0
        init_ms, self._init_ms = self._init_ms, None
        peak_mb = self._memory.look() if self._memory else 0
        return Execution(outcome, duration_ms, init_ms, peak_mb, self.new_output())

    def new_output(self) -> list[str]:
        """Return what was printed since the last call, one entry a log event."""
        return self._output.new_events() if self._output else []

    def kill(self) -> None:
        """End the process and all it started, close the port, drop the files. Blocks until they are gone."""
        self.is_alive = False
        if self._process is not None:
            self._process.stop(0.0)
        self.release_key()  # not before: a spare that is thrown away must not get to call AWS while it ends
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Stop listening and looking; called on the event loop."""
        self.is_alive = False
        self.end_init()
        if self._lifetime is not None:
            self._lifetime.cancel()
        for reader in (self._memory, self._output):
            if reader is not None:
                reader.close()
        self._memory = self._output = None
        self._is_spawned.set()  # or it never will be
        if self._server is not None:
            self._server.close()
        for connection in {self._next, self._serving} - {None}:
            if connection is not None:
                connection.close()

    # What the Runtime API calls

    async def is_own(self, near: Address, far: Address) -> bool:
        await self._is_spawned.wait()  # its first request may be faster than the note of its start
        return self._process is not None and await asyncio.to_thread(holds, self._process, near, far)

    def on_next(self, connection: RuntimeConnection) -> None:
        if not self._is_initialised:
            self._is_initialised = True
            self._init_ms = (time.perf_counter() - self._started_at) * 1000
            self.end_init()
        self._next, self._is_disconnected = connection, False
        if self._current is not None and not self._current.outcome.done():
            self._deliver()

    def on_response(self, request_id: str, body: bytes) -> bool:
        return self._settle(request_id, Outcome(body, "success"))

    def on_error(self, request_id: str, body: bytes) -> bool:
        return self._settle(request_id, Outcome(body, "error"))

    def on_oversized_response(self, request_id: str, size_bytes: int) -> None:  # noqa: ARG002 AWS names the limit only
        self._settle(request_id, function_errors.response_too_large(RESPONSE_LIMIT_BYTES))
        self.is_alive = False  # the runtime client gives up after a refused answer

    def on_init_error(self, body: bytes) -> None:
        self.is_alive = False
        self._init_ms = (time.perf_counter() - self._started_at) * 1000
        self._init_error = _error_type(body)
        if self._current is not None:
            self._settle(self._current.request_id, Outcome(body, "error"))

    def on_disconnect(self, connection: RuntimeConnection) -> None:
        if connection is self._next:
            self._next = None
            self.is_alive = False
            if self.on_lost is not None:
                self.on_lost(self)
        elif connection is self._serving:
            self._is_disconnected = True

    # Internal

    def _retire(self) -> None:
        """Take no more events, because the credentials end: an environment that is busy finishes first."""
        self.is_alive = False
        if self._current is None and self.on_lost is not None:
            self.on_lost(self)

    def _deliver(self) -> None:
        invocation, connection = self._current, self._next
        assert invocation is not None
        assert connection is not None
        self._next, self._serving = None, connection
        seconds = self.deployment.timeout_seconds
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.invoked_arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        self._delivered_at = time.perf_counter()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._time_out)
        connection.deliver(invocation.payload, headers)

    def _time_out(self) -> None:
        if self._current is not None:
            seconds = float(self.deployment.timeout_seconds)
            self._settle(self._current.request_id, function_errors.timed_out(self._current.request_id, seconds))

    def _settle(self, request_id: str, outcome: Outcome) -> bool:
        invocation = self._current
        if invocation is None or invocation.request_id != request_id or invocation.outcome.done():
            return False
        invocation.outcome.set_result(outcome)
        return True

    def _finish(self) -> None:
        self._current = None
        for timer in (self._deadline, self._check):
            if timer is not None:
                timer.cancel()
        self._deadline = self._check = None

    def _delivery_limit(self) -> float:
        init_seconds = 0.0 if self._is_initialised else INIT_SECONDS
        return time.perf_counter() + init_seconds + self.deployment.timeout_seconds

    def _watch(self, invocation: Invocation, delivery_limit: float) -> None:
        """Notice what no call tells: a runtime that never asks for the event, its end, too much memory.

        A timer, not a task: most invocations are over before it fires, and it costs them next to nothing.
        """
        loop = asyncio.get_running_loop()
        self._check = loop.call_later(EXIT_POLL_SECONDS, self._look, invocation, delivery_limit)

    def _look(self, invocation: Invocation, delivery_limit: float) -> None:
        if invocation.outcome.done():
            return
        if self._has_exited():
            self._reporting = asyncio.get_running_loop().create_task(self._report_exit(invocation))
            return
        if not self._delivered_at and time.perf_counter() > delivery_limit:
            self._time_out()
        elif self._is_over_memory():
            self._settle(invocation.request_id, function_errors.out_of_memory(invocation.request_id))
        self._watch(invocation, delivery_limit)

    def _has_exited(self) -> bool:
        """A running process is looked at only while it has no connection that would tell its end."""
        is_in_doubt = self._is_disconnected or not self._is_initialised
        return self._process is not None and is_in_doubt and not is_running(self._process)

    async def _report_exit(self, invocation: Invocation) -> None:
        assert self._process is not None
        self.is_alive = False
        if self._is_initialised and not self._delivered_at:
            if not invocation.outcome.done():
                invocation.outcome.set_exception(EnvironmentGoneError())
            return
        returncode = await asyncio.get_running_loop().run_in_executor(None, self._process.wait, EXIT_WAIT_SECONDS)
        self._settle(invocation.request_id, function_errors.exited(invocation.request_id, returncode))

    def _is_over_memory(self) -> bool:
        """Compare the process's peak with MemorySize; over it, Lambda kills the environment, and so does the pool."""
        is_over = self._memory is not None and self._memory.look() > self.deployment.memory_mb
        if is_over:
            self.is_alive = False
        return is_over

    def _spawn(self, port: int) -> Process:
        for name in ("tmp", "root"):
            (self._folder / name).mkdir(parents=True)
        self._output = output = Output(self._folder / "output.log")
        kind, stream = self.initialization_type, self.log_stream
        program = Program(self.deployment, kind, stream, self._folder, output.path, port)
        return program.start(self._launch.core, self._held_key)


def _error_type(body: bytes) -> str:
    try:
        return str(json.loads(body)["errorType"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "Runtime.Unknown"
