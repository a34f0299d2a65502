"""Convert times and durations between the clock of AWS and the clock of this machine.

The embedded AWS may run its clock faster than real time. CloudWatch periods, alarms, cooldowns, scaling activities and
instance starts follow that clock; rates, latencies and logs follow the clock of this machine. On real AWS both clocks
are the same.
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
    """The clock of AWS: its time is `origin + (wall − origin) × scale`, in Unix seconds."""

    scale: float = 1.0
    origin: float = 0.0
    wall: Callable[[], float] = time.time

    @classmethod
    def from_settings(cls, settings: Settings) -> AwsClock:
        """Return the clock that the settings describe.

        Raises:
            SettingsRefused: the time scale is not 1 and no origin is set.
        """
        if settings.time_scale != 1.0 and settings.clock_origin == 0.0:
            what = f"time_scale={settings.time_scale:g}"
            why = "a time scale other than 1 needs an origin, and clock_origin is not set"
            raise SettingsRefused("AWS's clock", what, why, 'eval "$(kennel up)", which exports both')
        return cls(settings.time_scale, settings.clock_origin)

    def now(self) -> datetime:
        """Return the current time on AWS's clock, as an aware datetime in UTC."""
        return self.at_wall(self.wall())

    def at_wall(self, wall: float) -> datetime:
        """Return the time on AWS's clock at a Unix time of this machine."""
        return datetime.fromtimestamp(self.origin + (wall - self.origin) * self.scale, UTC)

    def to_wall(self, moment: datetime) -> float:
        """Return the Unix time of this machine at which AWS's clock shows `moment`, an aware datetime."""
        return self.origin + (moment.timestamp() - self.origin) / self.scale

    def wall_seconds(self, aws_seconds: float) -> float:
        """Convert a duration from AWS's clock to this machine's clock."""
        return aws_seconds / self.scale

    def aws_seconds(self, wall_seconds: float) -> float:
        """Convert a duration from this machine's clock to AWS's clock."""
        return wall_seconds * self.scale

    def next_minute(self, wall: float | None = None) -> float:
        """Return the Unix time of this machine at which the next full minute of AWS's clock begins."""
        now = self.at_wall(self.wall() if wall is None else wall).timestamp()
        return self.to_wall(datetime.fromtimestamp((now // MINUTE_SECONDS + 1) * MINUTE_SECONDS, UTC))
