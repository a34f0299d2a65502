"""What happened in each second: counts, and latencies in buckets 2 % wide, small enough to keep for hours. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loadtest.percentiles import sample_floor

CHARTED = (0.5, 0.9, 0.99)
_WIDTH = math.log(1.02)
_MICROSECONDS = 1_000_000


@dataclass
class Second:
    """One second of the measured time: what was due in it, and what became of that."""

    due: int = 0
    answered: int = 0
    failed: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def is_answered(self, latency_seconds: float) -> None:
        """Count one answer."""
        self.answered += 1
        self.latencies[int(math.log(max(latency_seconds * _MICROSECONDS, 1.0)) / _WIDTH)] += 1

    def add(self, other: Second) -> None:
        """Add what another generator saw in the same second."""
        self.due += other.due
        self.answered += other.answered
        self.failed += other.failed
        self.latencies.update(other.latencies)

    def percentile_ms(self, share: float) -> float | None:
        """Return a percentile (0 < share < 1) to 2 %, or None under its floor of samples."""
        if self.answered < sample_floor(100 * share):
            return None
        rank, seen = math.ceil(share * self.answered), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= rank:
                return math.exp((bucket + 1) * _WIDTH) / 1000
        raise AssertionError(f"{self.answered} answered but {seen} latencies")

    def to_row(self) -> list[Any]:
        """Return plain values."""
        return [self.due, self.answered, self.failed, sorted(self.latencies.items())]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Second:
        """Return the second that `to_row` gave."""
        due, answered, failed, latencies = row
        return cls(due, answered, failed, Counter({int(bucket): count for bucket, count in latencies}))


def timeline(seconds: Mapping[int, Second]) -> list[dict[str, Any]]:
    """Return one row a second, in order, for `loadtest.json`; latencies in milliseconds."""
    return [_row(moment, seconds.get(moment, Second())) for moment in range(max(seconds, default=-1) + 1)]


def locust_history(seconds: Mapping[int, Second], measured_from: float, users: int) -> list[dict[str, Any]]:
    """Return what Locust's charts draw: a point at the end of each second, not its sliding means over ten."""
    return [_point(row, measured_from, users) for row in timeline(seconds)]


def _row(moment: int, second: Second) -> dict[str, Any]:
    percentiles = {f"p{100 * share:g}_ms": second.percentile_ms(share) for share in CHARTED}
    counts = {"due": second.due, "answered": second.answered, "failed": second.failed}
    return {"second": moment, **counts, **percentiles}


def _point(row: Mapping[str, Any], measured_from: float, users: int) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(int(measured_from) + row["second"] + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {f"response_time_percentile_{share}": row[f"p{100 * share:g}_ms"] for share in CHARTED}
    values["current_rps"] = row["answered"] + row["failed"]
    values["current_fail_per_sec"] = row["failed"]
    values["total_avg_response_time"] = row["p50_ms"]
    values["user_count"] = users
    return {"time": stamp, **{name: [stamp, value] for name, value in values.items()}}
