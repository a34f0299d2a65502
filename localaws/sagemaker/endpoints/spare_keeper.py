"""Keeps the spares of all fleets: one thread starts them one at a time, within an eighth of the machine's memory.

Spares load at idle priority, so that they take no core from the instances that serve. Where there is no idle priority
(`can_come_back`), the keeper starts spares only while no fleet serves requests.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Protocol

import psutil
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from localaws.auth.routes import OpenRoute
from localaws.idle_priority import can_come_back
from localaws.sagemaker.endpoints.instances import Instance
from localaws.sagemaker.endpoints.spares import SpareCounts, Spares

SHARE_OF_MEMORY = 8
PERIOD_SECONDS = 0.1
QUIET_SECONDS = 2.0  # without a request, until a fleet counts as serving none
MEMORY_ROUND_SECONDS = 1.0  # to look at the memory is milliseconds of computing


class SparedFleet(Protocol):
    """A fleet, as far as its spares are concerned."""

    spares: Spares

    @property
    def serving(self) -> tuple[Instance, ...]:
        """The instances that serve."""

    @property
    def is_growing(self) -> bool:
        """Whether instances are being added."""


@dataclass(frozen=True)
class Kept:
    """A fleet that serves, with what its endpoint and variant are called and the most instances it may have."""

    endpoint_name: str
    variant_name: str
    fleet: SparedFleet
    maximum: int | None


class SpareKeeper:
    """Visits the fleets that serve in turn. `ping_seconds`: real, between two pings of a spare.

    `allowed_bytes`: of resident memory for all spares together, by default an eighth of the machine's.
    `only_when_quiet`: whether spares are started only while no fleet serves requests; by default where there is no idle
    priority.
    """

    def __init__(
        self,
        find: Callable[[], Iterable[Kept]],
        *,
        ping_seconds: float,
        allowed_bytes: int | None = None,
        only_when_quiet: bool | None = None,
    ) -> None:
        self._find = find
        self._ping_seconds = ping_seconds
        self._ping_at = 0.0
        self._memory_at = 0.0
        self._only_when_quiet = not can_come_back() if only_when_quiet is None else only_when_quiet
        self._allowed_bytes = allowed_bytes or psutil.virtual_memory().total // SHARE_OF_MEMORY

    def run(self, closed: threading.Event) -> None:
        """Go round until `closed`."""
        while not closed.wait(PERIOD_SECONDS):
            try:
                self.go_round()
            except Exception as error:  # noqa: BLE001 the next round may find things in order
                print(f"localaws: a round of starting spares failed: {error!r}", file=sys.stderr)

    def go_round(self) -> None:
        """See to every fleet's spares, and start one where some are missing."""
        kept, now = list(self._find()), time.monotonic()
        is_ping_due = now >= self._ping_at
        if is_ping_due:
            self._ping_at = now + self._ping_seconds
        for each in kept:
            each.fleet.spares.want(each.maximum)
            each.fleet.spares.look(ping=is_ping_due)
        if not any(each.fleet.spares.is_starting for each in kept):
            self._start_one(kept)

    def _start_one(self, kept: list[Kept]) -> None:
        """Start one for the fleet that has the fewest of what it wants, if the memory allows."""
        short = [each.fleet for each in kept if each.fleet.spares.is_short and not each.fleet.is_growing]
        if not short or time.monotonic() < self._memory_at or (self._only_when_quiet and not _is_quiet(kept)):
            return
        fleet = min(short, key=lambda each: each.spares.ready_count)
        used = sum(each.fleet.spares.memory_bytes() for each in kept)
        next_one = max((instance.memory_bytes() for instance in fleet.serving), default=0)
        if used + next_one <= self._allowed_bytes:
            fleet.spares.start_one()
        else:
            self._memory_at = time.monotonic() + MEMORY_ROUND_SECONDS


def _is_quiet(kept: list[Kept]) -> bool:
    """Whether no fleet has a request or had one just now."""
    serving = [instance for each in kept for instance in each.fleet.serving]
    latest = time.monotonic() - QUIET_SECONDS
    return not any(instance.outstanding or instance.asked_at > latest for instance in serving)


def spares_route(describe: Callable[[], dict[tuple[str, str], SpareCounts]]) -> BaseRoute:
    """Return the route that shows the spares: an object of endpoints, of variants, of `SpareCounts`."""

    def spares(_: Request) -> Response:  # not async: memory is looked at on a thread, not on the event loop
        answer: dict[str, dict[str, dict[str, int]]] = {}
        for (endpoint_name, variant_name), counts in describe().items():
            answer.setdefault(endpoint_name, {})[variant_name] = asdict(counts)
        return JSONResponse(answer)

    return OpenRoute("/_localaws/spares", spares)
