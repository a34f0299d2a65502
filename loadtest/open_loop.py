"""The open model: each request starts when it is due, whether or not earlier ones were answered.

One greenlet follows the schedule. Other greenlets, the callers, send the requests, each over its own connection; a
caller is added whenever all are busy, up to a limit. Latency is measured from the intended start, so it includes the
time that a request waits for a caller because the target is slow (no coordinated omission).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
from gevent.hub import Waiter

from loadtest.outcomes import HttpAnswer, Outcome, network_outcome
from loadtest.signing import Payload
from loadtest.tally import Tally
from loadtest.timer import PreciseTimer

_YIELD_EVERY = 16
"""When requests are late, the scheduler lets the callers run after this many dispatches."""


class Exchange(Protocol):
    """The connection methods that a caller uses."""

    def exchange(self, request: bytes) -> HttpAnswer:
        """Send a complete request and return the complete response.

        Raises:
            OSError: there was no complete response.
        """

    def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True)
class Wire:
    """The functions that open connections, build requests and judge responses, and the payloads to send."""

    connect: Callable[[], Exchange]
    request: Callable[[Payload], bytes]
    judge: Callable[[HttpAnswer], Outcome]
    payloads: Sequence[Payload]


@dataclass(frozen=True)
class Bounds:
    """The limits of one generator: `warm_up_seconds` are not measured, and it ends by `deadline_seconds`."""

    warm_up_seconds: float
    deadline_seconds: float
    max_connections: int


Listener = Callable[[float, Outcome, int], None]
"""Called with each measured result: latency in seconds, outcome, size of the response in bytes."""


class OpenLoop:
    """One generator; call `run` only once."""

    def __init__(
        self, wire: Wire, bounds: Bounds, on_result: Listener, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Store the arguments; `run` starts the work."""
        self.tally = Tally()
        self._wire = wire
        self._bounds = bounds
        self._on_result = on_result
        self._clock = clock
        self._payloads = itertools.cycle(wire.payloads)
        self._idle: list[Any] = []
        self._backlog: deque[float] = deque()
        self._callers: list[Any] = []
        self._outstanding = 0
        self._in_flight: dict[Any, tuple[float, bool]] = {}
        self._is_over = False
        self._caller_error: BaseException | None = None
        self._measured_from = 0.0
        self._cpu_readings: deque[tuple[float, float]] = deque(maxlen=6)

    def run(self, arrivals: Iterable[float], *, begins: float | None = None) -> Tally:
        """Start a request at each time (seconds from the begin, ascending), wait for the responses, return the counts.

        `begins` is a moment of the clock, now if it is None. What is due before it could be sent is sent late.

        At the deadline, a request without a response is counted as a timeout, and one that was not sent as unsent.

        Raises:
            RuntimeError: a caller raised an exception other than OSError, which is a bug of the generator.
        """
        now = self._clock()
        start = now if begins is None else begins
        self.tally.late_start_seconds = max(0.0, now - start)
        self._measured_from = start + self._bounds.warm_up_seconds
        self.tally.measured_from = time.time() + start - now + self._bounds.warm_up_seconds
        deadline = start + self._bounds.deadline_seconds
        meter = gevent.spawn(self._measure_cpu)
        try:
            self._dispatch_all(start, deadline, arrivals)
            self._await_answers(deadline)
        finally:
            meter.kill()
            gevent.killall(self._callers, block=True, timeout=5)
        self._record_cpu()
        return self.tally

    def _dispatch_all(self, start: float, deadline: float, arrivals: Iterable[float]) -> None:
        late_in_a_row = 0
        with PreciseTimer() as timer:
            for offset in arrivals:
                intended = start + offset
                if intended > self._clock():
                    timer.sleep_until(min(intended, deadline))
                    late_in_a_row = 0
                else:
                    late_in_a_row += 1
                    if late_in_a_row % _YIELD_EVERY == 0:
                        gevent.sleep(0)
                self._count_due(intended)
                if self._clock() < deadline:
                    self._dispatch(intended)
                self._raise_if_caller_failed()

    def _count_due(self, intended: float) -> None:
        if intended >= self._measured_from:
            self.tally.count_due(intended - self._measured_from)
        else:
            self.tally.warm_up += 1

    def _dispatch(self, intended: float) -> None:
        self._outstanding += 1
        if self._idle:
            # gevent allows switching to a Waiter from the hub only.
            gevent.get_hub().loop.run_callback(self._idle.pop().switch, intended)
        elif len(self._callers) < self._bounds.max_connections:
            caller = gevent.spawn(self._serve, intended)
            caller.link_exception(self._note_caller_error)
            self._callers.append(caller)
        else:
            self.tally.pool_exhausted += 1
            self._backlog.append(intended)

    def _serve(self, intended: float) -> None:
        connection = self._wire.connect()
        try:
            while True:
                self._call(connection, intended)
                if self._backlog:
                    intended = self._backlog.popleft()
                    continue
                waiter = Waiter()
                self._idle.append(waiter)
                intended = waiter.get()
        finally:
            connection.close()

    def _call(self, connection: Exchange, intended: float) -> None:
        if self._is_over:
            return
        request = self._wire.request(next(self._payloads))
        is_measured = intended >= self._measured_from
        sent = self._clock()
        if is_measured:
            self.tally.count_sent(intended - self._measured_from, sent - self._measured_from)
        self._in_flight[connection] = (intended, is_measured)
        length = 0
        try:
            answer = connection.exchange(request)
            outcome, length = self._wire.judge(answer), len(answer.body)
        except OSError as error:
            outcome = network_outcome(error)
        if self._in_flight.pop(connection, None) is None:
            return  # the deadline passed: `_fail_unanswered` has counted it
        self._outstanding -= 1
        if is_measured:
            self._finish(intended, sent, outcome, length)

    def _finish(self, intended: float, sent: float, outcome: Outcome, length: int) -> None:
        done, zero = self._clock(), self._measured_from
        self.tally.count_result(intended - zero, sent - zero, done - zero, outcome)
        self._on_result(done - intended, outcome, length)

    def _await_answers(self, deadline: float) -> None:
        while self._outstanding and self._clock() < deadline:
            gevent.sleep(min(0.01, max(0.0, deadline - self._clock())))
            self._raise_if_caller_failed()
        self._fail_unanswered()

    def _fail_unanswered(self) -> None:
        """Count what is in flight as failed and ignore any response that arrives before its caller is killed."""
        self._is_over = True
        flights, self._in_flight = list(self._in_flight.values()), {}
        timeout = Outcome("timeout", "no answer by the deadline")
        for intended, is_measured in flights:
            if is_measured:
                self._finish(intended, intended, timeout, 0)

    def _note_caller_error(self, caller: Any) -> None:
        self._caller_error = caller.exception

    def _raise_if_caller_failed(self) -> None:
        if self._caller_error is not None:
            raise RuntimeError("a caller of the load generator failed") from self._caller_error

    def _measure_cpu(self) -> None:
        gevent.sleep(max(0.0, self._measured_from - self._clock()))
        while True:
            self._record_cpu()
            gevent.sleep(1.0)

    def _record_cpu(self) -> None:
        """Record this process's CPU use in its busiest five seconds (or in the whole run, if shorter), in cores."""
        now, used = self._clock(), time.process_time()
        if self._cpu_readings:
            self.tally.cpu_seconds += used - self._cpu_readings[-1][1]
            then, used_then = self._cpu_readings[0]
            self.tally.busiest_cpu = max(self.tally.busiest_cpu, (used - used_then) / max(now - then, 1e-9))
        self._cpu_readings.append((now, used))
