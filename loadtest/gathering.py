"""Let the generators of one test begin at one moment, and tell which of them sent no result.

Every generator says that it is ready and waits. When all are, the master names a moment by its own clock, and each
generator begins then. A generator on another machine is told by how much that machine's clock is ahead of the master's
(`KENNEL_LOADTEST_CLOCK_AHEAD_SECONDS`), so that the intended starts of all requests are those of one clock. A single
process does the same with itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from gevent.event import AsyncResult
from locust.runners import STATE_MISSING, MasterRunner

from loadtest.tally import Tally

AHEAD_VARIABLE = "KENNEL_LOADTEST_CLOCK_AHEAD_SECONDS"
READY_MESSAGE = "kennel_ready"
START_MESSAGE = "kennel_start"
READY_SECONDS = 30.0
"""The time in which all generators have to be ready, from the moment when the last one had connected."""
WAIT_SECONDS = 2 * READY_SECONDS
"""How long a generator waits for the others: longer than the master, which says first that one is missing."""
LEAD_SECONDS = 0.5
"""How long before the moment it is announced: longer than a message takes to any generator."""
LOST_AFTER_SECONDS = 10
"""A generator of which nothing is heard for so long is missing; Locust sends a heartbeat each second."""


class Starting:
    """The begin of one generator, in its own process."""

    def __init__(self) -> None:
        """Begin with a test that was not announced yet."""
        self._ahead_seconds = float(os.environ.get(AHEAD_VARIABLE, "0"))
        self.renew()

    def renew(self) -> None:
        """Wait for the begin of another test."""
        self._moment: AsyncResult[float] = AsyncResult()
        self._is_taken = False

    def take(self) -> bool:
        """Tell whether the caller is the first to generate this test's load here.

        Locust gives the user of a missing generator to another process, which must not send its own part twice.
        """
        is_first, self._is_taken = not self._is_taken, True
        return is_first

    def announce(self, at: float) -> None:
        """Set the moment of the begin, a Unix time of the master's clock."""
        self._moment.set(at)

    def wait(self) -> float:
        """Return the begin as a moment of `time.perf_counter`.

        Raises:
            gevent.Timeout: the other generators were not ready in time.
        """
        at: float = self._moment.get(timeout=WAIT_SECONDS)
        return time.perf_counter() + at + self._ahead_seconds - time.time()

    def to_master_clock(self, tally: Tally) -> Tally:
        """Convert the stamp in a result from this machine's clock to the master's."""
        tally.measured_from -= self._ahead_seconds
        return tally


class Gathering:
    """What the master, or the only process, knows of its generators, by their node ids."""

    def __init__(self, expected: int) -> None:
        """Expect so many generators."""
        self.expected = expected
        self.results: dict[str, Tally] = {}
        self.broken: dict[str, str] = {}
        self._ready: dict[str, int] = {}
        self._vanished: set[str] = set()

    def clear(self) -> None:
        """Forget an earlier test."""
        for kept in (self.results, self.broken, self._ready, self._vanished):
            kept.clear()

    def note_ready(self, runner: Any, node: str) -> None:
        """Note that a generator is ready; announce the begin once all are."""
        is_master = isinstance(runner, MasterRunner)
        self._ready[node] = runner.get_worker_index(node) if is_master else 0
        if len(self._ready) == self.expected:
            logging.info("all load generators are ready: %d", self.expected)
            runner.send_message(START_MESSAGE, {"at": time.time() + (LEAD_SECONDS if is_master else 0.0)})

    @property
    def none_can_begin(self) -> bool:
        """Whether generators failed and none was ready: what all of them are given is at fault."""
        return bool(self.broken) and not self._ready

    def note_broken(self, node: str, reason: str) -> None:
        """Note why a generator sends no result."""
        self.broken[node] = reason

    @property
    def is_complete(self) -> bool:
        """Whether every generator sent its result."""
        return len(self.results) == self.expected

    def is_over(self, runner: Any, seconds: float) -> bool:
        """Tell whether there is nothing more to wait for after so long: all results are here, or one will not come."""
        late = len(self._ready) < self.expected and seconds > READY_SECONDS
        self._vanished |= self._lost(runner)
        is_broken = bool(self.broken) and len(self._ready.keys() | self.broken.keys()) == self.expected
        return self.is_complete or is_broken or late or bool(self._vanished)

    def missing(self) -> str:
        """Return which generators are the reason that not all results are here, in words; "" if all are.

        A generator that was stopped because of another one is no reason.
        """
        if self.is_complete:
            return ""
        if self.broken:
            return self._are_missing([f"one on {_machine(node)} failed: {why}" for node, why in self.broken.items()])
        late = self.expected - len(self._ready)
        silent = self._vanished or (set() if late else self._ready.keys() - self.results.keys())
        what = "vanished" if self._vanished else "sent no result in time"
        shown = [f"generator {self._ready[node] + 1} on {_machine(node)} {what}" for node in sorted(silent)]
        shown += [f"{late} did not begin in time"] if late else []
        return self._are_missing(shown, len(silent) + late)

    def _are_missing(self, shown: Sequence[str], count: int | None = None) -> str:
        count = len(shown) if count is None else count
        return f"{count} of {self.expected} load generators {'is' if count == 1 else 'are'} missing: {', '.join(shown)}"

    def _lost(self, runner: Any) -> set[str]:
        if not isinstance(runner, MasterRunner):
            return set()
        present = {
            client.id
            for client in runner.clients.all
            if client.state != STATE_MISSING or client.heartbeat > -LOST_AFTER_SECONDS
        }
        return {node for node in self._ready if node not in present and node not in self.results}


def _machine(node: str) -> str:
    """Return the host in a node id, which Locust makes of it and a random number."""
    return node.rpartition("_")[0] or node
