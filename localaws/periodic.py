"""Periodic work, every ten emulated seconds: metrics are taken, then alarms evaluated, then schedules checked.

One thread does all of it; it starts with the first work that is added. It sleeps until the next multiple of ten seconds
of the emulated clock.
"""

import sys
import threading
import traceback
from collections.abc import Callable

from localaws.clock import Clock

PERIOD_SECONDS = 10  # emulated: CloudWatch's shortest period for alarms
SETTLE_SECONDS = 0.005  # real: a request that ended just before the period ended has been counted by then
SHORTEST_WAIT_SECONDS = 0.05  # real: above scale 200 several periods are done at once
CATCH_UP_PERIODS = 360  # after a longer pause (a suspended machine) the missed periods are skipped
JOIN_SECONDS = 2.0

MEASURE, EVALUATE, ACT = range(3)  # the order within a period

Duty = Callable[[int], None]


class PeriodicWork:
    """Calls duties every ten emulated seconds, with the emulated time: a Unix time that is a multiple of ten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._duties: list[tuple[int, Duty]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, duty: Duty, *, order: int) -> None:
        """Have `duty` called in every period from the next on, after those of a lower `order`."""
        with self._lock:
            self._duties = sorted([*self._duties, (order, duty)], key=lambda each: each[0])
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="periodic work", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Call no further duty; returns when the calls that have begun are over, or after 2 seconds."""
        self._closed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        due = _after(self._clock.now())
        while not self._closed.wait(max(SHORTEST_WAIT_SECONDS, self._clock.wall_seconds_until(due) + SETTLE_SECONDS)):
            last = _after(self._clock.now()) - PERIOD_SECONDS
            due = max(due, last - CATCH_UP_PERIODS * PERIOD_SECONDS)
            while due <= last and not self._closed.is_set():
                self._call_all(due)
                due += PERIOD_SECONDS

    def _call_all(self, due: int) -> None:
        for _, duty in self._duties:
            try:
                duty(due)
            except OSError as error:
                print(f"localaws: {duty} failed in the period that ended at {due}: {error}", file=sys.stderr)
            except Exception:  # noqa: BLE001 the other duties, and the next period, must go on
                print(f"localaws: {duty} failed in the period that ended at {due}", file=sys.stderr)
                traceback.print_exc()


def _after(moment: float) -> int:
    return int(moment // PERIOD_SECONDS + 1) * PERIOD_SECONDS
