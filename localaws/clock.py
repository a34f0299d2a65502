"""The emulated clock: AWS's time, which runs `scale` times as fast as the wall clock from the server's start on.

CloudWatch's data points, alarms, scaling activities, cooldowns and schedules use the emulated time. Logs, creation
times and everything that is measured (latencies, service times) use the wall clock.
"""

import time
from collections.abc import Callable


class Clock:
    """Emulated time: `origin + (wall - origin) × scale`, in Unix seconds. At scale 1 it is the wall clock."""

    def __init__(self, scale: float = 1.0, *, wall: Callable[[], float] = time.time) -> None:
        self.scale = scale
        self.origin = wall()
        self._wall = wall

    def now(self) -> float:
        """Return the emulated time in Unix seconds."""
        return self.origin + (self._wall() - self.origin) * self.scale

    def wall_seconds_until(self, emulated: float) -> float:
        """Return how many real seconds it takes until the emulated time is reached; negative if it has passed."""
        return (emulated - self.now()) / self.scale

    def sleep(self, emulated_seconds: float) -> None:
        """Sleep for as long as this many emulated seconds last."""
        time.sleep(max(0.0, emulated_seconds) / self.scale)
