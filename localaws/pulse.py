"""The pulse of this server: how late its event loop and its hosting instances are, in quarter seconds.

A load test asks for it to tell delays of this machine from those of the model: while the loop stands still, no request
is read or answered. The loop is watched from the first request to the route on; the instances are watched only while
somebody asks. The values are kept for ten minutes.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from localaws.auth.routes import OpenRoute
from localaws.core import Core

PATH = "/_localaws/pulse"
SLEEP_SECONDS = 0.02
BUCKET_SECONDS = 0.25
KEPT_BUCKETS = 2400  # ten minutes
SPARE_BUCKETS = 100  # how many more there may be before the old ones are dropped
NO_ANSWER_MS = 2000.0  # of a ping that fails, however soon: as late as one may be
ASKED_SECONDS = 5.0  # so long after a request the instances are still watched


class Pinged(Protocol):
    """A hosting instance."""

    def answers_ping(self) -> bool:
        """Return whether `GET /ping` is answered, after 2 seconds at the latest."""


Serving = Callable[[], Sequence[Pinged]]


class Lateness:
    """The largest lateness in each bucket of the last ten minutes, in milliseconds. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._largest: dict[int, float] = {}

    def record(self, due: float, came: float, *, least_ms: float = 0.0) -> None:
        """Take something that was due at one Unix time and came at another: the buckets between are late as well.

        `least_ms`: how late it was at least, of what did not come at all.
        """
        lag_ms = max(least_ms, (came - due) * 1000)
        last = int(came // BUCKET_SECONDS)
        first = max(min(int(due // BUCKET_SECONDS), last), last - KEPT_BUCKETS)
        with self._lock:
            for bucket in range(first, last + 1):
                self._largest[bucket] = max(self._largest.get(bucket, 0.0), lag_ms)
            if len(self._largest) > KEPT_BUCKETS + SPARE_BUCKETS:
                kept = sorted(self._largest)[-KEPT_BUCKETS:]
                self._largest = {bucket: self._largest[bucket] for bucket in kept}

    def since(self, moment: float) -> dict[int, float]:
        """Return the buckets that end after a Unix time, by their number."""
        first = int(moment // BUCKET_SECONDS)
        with self._lock:
            return {bucket: lag_ms for bucket, lag_ms in self._largest.items() if bucket >= first}


class Pulse:
    """Watches the loop it is asked on, and the instances that serve. Making one starts nothing.

    Pinging takes 1.3 % of a core for each instance here and 1.1 % in its model server (measured with 3 on a Xeon).
    """

    def __init__(self, serving: Serving, *, clock: Callable[[], float] = time.time) -> None:
        self._serving = serving
        self._clock = clock
        self._loop_lateness, self._instance_lateness = Lateness(), Lateness()
        self._beating: asyncio.Task[None] | None = None
        self._pinging: threading.Thread | None = None
        self._asked_at = 0.0
        self._closed = threading.Event()

    async def answer(self, request: Request) -> Response:
        """Answer with the buckets that end after `since` (Unix seconds; 0 without it and if it is not finite)."""
        try:
            since = _finite(float(request.query_params.get("since", "0")))
        except ValueError:
            return JSONResponse({"message": "since must be a Unix time in seconds"}, 400)
        self._asked_at = time.monotonic()
        self._watch()
        loop, instances = self._loop_lateness.since(since), self._instance_lateness.since(since)
        buckets = [
            {"at": each * BUCKET_SECONDS, "loop_lag_ms": loop.get(each), "instance_lag_ms": instances.get(each)}
            for each in sorted({*loop, *instances})
        ]
        return JSONResponse({"now": self._clock(), "buckets": buckets})

    def close(self) -> None:
        """Ping no instance any more; the task on the loop ends with the loop."""
        self._closed.set()

    def _watch(self) -> None:
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        if self._pinging is None or not self._pinging.is_alive():
            self._pinging = threading.Thread(target=self._ping, name="pulse of instances", daemon=True)
            self._pinging.start()

    async def _beat(self) -> None:
        while True:
            due = self._clock() + SLEEP_SECONDS
            await asyncio.sleep(SLEEP_SECONDS)
            self._loop_lateness.record(due, self._clock())

    def _ping(self) -> None:
        while time.monotonic() - self._asked_at < ASKED_SECONDS and not self._closed.wait(SLEEP_SECONDS):
            for instance in self._serving():
                begun = self._clock()
                is_late = not instance.answers_ping() and instance in self._serving()  # else it has left service
                self._instance_lateness.record(begun, self._clock(), least_ms=NO_ANSWER_MS if is_late else 0.0)


def install(core: Core) -> list[BaseRoute]:
    """Return the route of the pulse."""
    pulse = Pulse(lambda: _serving(core))
    core.on_shutdown(pulse.close)
    return [OpenRoute(PATH, pulse.answer)]


def _finite(moment: float) -> float:
    return moment if math.isfinite(moment) else 0.0


def _serving(core: Core) -> Sequence[Pinged]:
    from moto.sagemaker.models import sagemaker_backends

    from localaws.sagemaker.endpoints.models import Endpoints

    hosting, settings = Endpoints.hosting, core.settings
    names = list(sagemaker_backends[settings.account_id][settings.region].endpoints)
    shown = [(name, variant["VariantName"]) for name in names for variant in hosting.describe_variants(name)]
    running = [variant for name, variant_name in shown if (variant := hosting.variant(name, variant_name))]
    return [instance for variant in running for instance in variant.fleet.serving]
