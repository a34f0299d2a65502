"""The open model: requests start when they are due, whether or not earlier ones were answered.

One greenlet keeps the schedule; callers, each with a connection of its own, do the requests. There are as many callers
as requests have ever been in flight at once, up to a limit. Latency runs from the intended start, so that time spent
waiting for a slow target or for a caller is part of it (no coordinated omission).
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
"""When the schedule is behind, callers get the processor after this many dispatches."""


class Exchange(Protocol):
    """A connection, as far as a caller needs it."""

    def exchange(self, request: bytes) -> HttpAnswer:
        """Send a whole request and return the whole answer; raises OSError."""

    def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True)
class Wire:
    """How requests are made and judged."""

    connect: Callable[[], Exchange]
    request: Callable[[Payload], bytes]
    judge: Callable[[HttpAnswer], Outcome]
    payloads: Sequence[Payload]


@dataclass(frozen=True)
class Bounds:
    """Limits of one generator: the first `warm_up_seconds` are not measured, nothing runs past `deadline_seconds`."""

    warm_up_seconds: float
    deadline_seconds: float
    max_connections: int


Listener = Callable[[float, Outcome, int], None]
"""Told of each measured result: latency in seconds, outcome, bytes of the answer."""


class OpenLoop:
    """One generator; `run` once."""

    def __init__(
        self, wire: Wire, bounds: Bounds, on_result: Listener, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Keep what is given; nothing starts."""
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
        self._broken: BaseException | None = None
        self._measured_from = 0.0
        self._marks: deque[tuple[float, float]] = deque(maxlen=6)

    def run(self, arrivals: Iterable[float]) -> Tally:
        """Start a request at each time (seconds from now, ascending), wait for the answers, return the counts.

        What is not answered at the deadline is counted as failed by timeout, what is not sent stays unsent.

        Raises:
            RuntimeError: a caller raised something else than OSError, a defect of the generator and not of the target.
        """
        start = self._clock()
        self._measured_from = start + self._bounds.warm_up_seconds
        self.tally.measured_from = time.time() + self._bounds.warm_up_seconds
        deadline = start + self._bounds.deadline_seconds
        meter = gevent.spawn(self._watch_processor)
        try:
            self._dispatch_all(start, deadline, arrivals)
            self._await_answers(deadline)
        finally:
            meter.kill()
            gevent.killall(self._callers, block=True, timeout=5)
        self._mark_processor()
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
                self._raise_if_broken()

    def _count_due(self, intended: float) -> None:
        if intended >= self._measured_from:
            self.tally.is_due(intended - self._measured_from)
        else:
            self.tally.warm_up += 1

    def _dispatch(self, intended: float) -> None:
        self._outstanding += 1
        if self._idle:
            # A waiter may only be switched to from the hub.
            gevent.get_hub().loop.run_callback(self._idle.pop().switch, intended)
        elif len(self._callers) < self._bounds.max_connections:
            caller = gevent.spawn(self._serve, intended)
            caller.link_exception(self._note_broken)
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
            self.tally.is_sent(intended - self._measured_from, sent - self._measured_from)
        self._in_flight[connection] = (intended, is_measured)
        length = 0
        try:
            answer = connection.exchange(request)
            outcome, length = self._wire.judge(answer), len(answer.body)
        except OSError as error:
            outcome = network_outcome(error)
        if self._in_flight.pop(connection, None) is None:
            return  # it was cut at the deadline, and counted then
        self._outstanding -= 1
        if is_measured:
            self._finish(intended, sent, outcome, length)

    def _finish(self, intended: float, sent: float, outcome: Outcome, length: int) -> None:
        done, zero = self._clock(), self._measured_from
        self.tally.is_done(intended - zero, sent - zero, done - zero, outcome)
        self._on_result(done - intended, outcome, length)

    def _await_answers(self, deadline: float) -> None:
        while self._outstanding and self._clock() < deadline:
            gevent.sleep(min(0.01, max(0.0, deadline - self._clock())))
            self._raise_if_broken()
        self._cut()

    def _cut(self) -> None:
        """End the counting: what is in flight has failed, though its answer may come before its caller is killed."""
        self._is_over = True
        flights, self._in_flight = list(self._in_flight.values()), {}
        cut = Outcome("timeout", "no answer by the deadline")
        for intended, is_measured in flights:
            if is_measured:
                self._finish(intended, intended, cut, 0)

    def _note_broken(self, caller: Any) -> None:
        self._broken = caller.exception

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise RuntimeError("a caller of the generator broke") from self._broken

    def _watch_processor(self) -> None:
        gevent.sleep(max(0.0, self._measured_from - self._clock()))
        while True:
            self._mark_processor()
            gevent.sleep(1.0)

    def _mark_processor(self) -> None:
        """Note the busiest five seconds (or the whole, when shorter) of this process, in shares of one core."""
        now, used = self._clock(), time.process_time()
        if self._marks:
            self.tally.cpu_seconds += used - self._marks[-1][1]
            then, used_then = self._marks[0]
            self.tally.busiest_cpu = max(self.tally.busiest_cpu, (used - used_then) / max(now - then, 1e-9))
        self._marks.append((now, used))
