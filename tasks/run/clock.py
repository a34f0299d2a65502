"""AWS's clock as the embedded AWS runs it: times and durations there, and what they are on this machine.

CloudWatch's periods, alarms, cooldowns, scaling activities and the start of instances go by it; rates, latencies and
logs do not. On real AWS the scale is 1 and nothing changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.run.errors import SettingsRefused
from tasks.run.settings import Settings

MINUTE_SECONDS = 60.0


@dataclass(frozen=True)
class AwsClock:
    """AWS's time is `origin + (wall − origin) × scale`, in Unix seconds."""

    scale: float = 1.0
    origin: float = 0.0
    wall: Callable[[], float] = time.time

    @classmethod
    def from_settings(cls, settings: Settings) -> AwsClock:
        """Return the clock that the settings describe.

        Raises:
            SettingsRefused: the scale is not 1 and the origin is not told.
        """
        if settings.time_scale != 1.0 and settings.clock_origin == 0.0:
            what = f"time_scale={settings.time_scale:g}"
            why = "a faster clock has a beginning, and clock_origin is not set"
            raise SettingsRefused("AWS's clock", what, why, "eval $(kennel up), which exports both")
        return cls(settings.time_scale, settings.clock_origin)

    def now(self) -> datetime:
        """Return AWS's time, aware, UTC."""
        return self.at_wall(self.wall())

    def at_wall(self, wall: float) -> datetime:
        """Return AWS's time at a Unix time of this machine."""
        return datetime.fromtimestamp(self.origin + (wall - self.origin) * self.scale, UTC)

    def to_wall(self, moment: datetime) -> float:
        """Return the Unix time on this machine at which AWS's clock shows `moment` (aware)."""
        return self.origin + (moment.timestamp() - self.origin) / self.scale

    def wall_seconds(self, aws_seconds: float) -> float:
        """Return how long so many of AWS's seconds last here."""
        return aws_seconds / self.scale

    def aws_seconds(self, wall_seconds: float) -> float:
        """Return how many of AWS's seconds pass here in so many."""
        return wall_seconds * self.scale

    def next_minute(self, wall: float | None = None) -> float:
        """Return the Unix time on this machine at which AWS's next full minute begins."""
        now = self.at_wall(self.wall() if wall is None else wall).timestamp()
        return self.to_wall(datetime.fromtimestamp((now // MINUTE_SECONDS + 1) * MINUTE_SECONDS, UTC))
