"""What is done every ten emulated seconds: metrics are taken, then alarms judged, then schedules looked at.

One thread for all of it, started with the first duty. It sleeps until the next full ten seconds of the emulated clock.
"""

import sys
import threading
import traceback
from collections.abc import Callable

from localaws.clock import Clock

ROUND_SECONDS = 10  # emulated: CloudWatch's shortest period for alarms
SETTLE_SECONDS = 0.005  # real: a request that ended just before the round has been counted by then
SHORTEST_WAIT_SECONDS = 0.05  # real: above scale 200 several rounds are made at once
CATCH_UP_ROUNDS = 360  # after a longer pause (a suspended machine) the rounds missed are not made up for
JOIN_SECONDS = 2.0

TAKE, JUDGE, ACT = range(3)  # the order within a round

Duty = Callable[[int], None]


class Rounds:
    """Calls duties with the emulated time of each round, a Unix time that is a multiple of ten seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._duties: list[tuple[int, Duty]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, duty: Duty, *, order: int) -> None:
        """Have `duty` called in every round from the next on, after those of a lower `order`."""
        with self._lock:
            self._duties = sorted([*self._duties, (order, duty)], key=lambda each: each[0])
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Make no further round; returns when the one being made is over, or after 2 seconds."""
        self._closed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        due = _after(self._clock.now())
        while not self._closed.wait(max(SHORTEST_WAIT_SECONDS, self._clock.wall_seconds_until(due) + SETTLE_SECONDS)):
            last = _after(self._clock.now()) - ROUND_SECONDS
            due = max(due, last - CATCH_UP_ROUNDS * ROUND_SECONDS)
            while due <= last and not self._closed.is_set():
                self._make(due)
                due += ROUND_SECONDS

    def _make(self, due: int) -> None:
        for _, duty in self._duties:
            try:
                duty(due)
            except Exception:  # noqa: BLE001 the other duties, and the next round, must go on
                print(f"localaws: {duty} failed in the round of {due}", file=sys.stderr)
                traceback.print_exc()


def _after(moment: float) -> int:
    return int(moment // ROUND_SECONDS + 1) * ROUND_SECONDS
