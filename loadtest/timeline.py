"""Count the requests of each second, with latencies in buckets 2 % wide, which fit in memory for hours. Pure."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loadtest.arrivals import Stage, expected_arrivals, total_seconds
from loadtest.percentiles import sample_floor

CHARTED = (0.5, 0.9, 0.99)
REPORTED = (0.5, 0.9, 0.95, 0.99)
_WIDTH = math.log(1.02)
_MICROSECONDS = 1_000_000


@dataclass
class Second:
    """The requests that were due in one second of the measured time, and their outcomes."""

    due: int = 0
    answered: int = 0
    failed: int = 0
    throttled: int = 0
    """The number of failed requests that were throttled."""
    late_seconds: float = 0.0
    """The largest delay between a request's intended start and its send, which is the generator's lateness."""
    latencies: Counter[int] = field(default_factory=Counter)

    def record_lateness(self, late_seconds: float) -> None:
        """Record how late a request was sent."""
        self.late_seconds = max(self.late_seconds, late_seconds)

    def count_answer(self, latency_seconds: float) -> None:
        """Count one answered request."""
        self.answered += 1
        self.latencies[int(math.log(max(latency_seconds * _MICROSECONDS, 1.0)) / _WIDTH)] += 1

    def add(self, other: Second) -> None:
        """Add the counts of another generator in the same second."""
        self.due += other.due
        self.answered += other.answered
        self.failed += other.failed
        self.throttled += other.throttled
        self.late_seconds = max(self.late_seconds, other.late_seconds)
        self.latencies.update(other.latencies)

    def percentile_ms(self, share: float) -> float | None:
        """Return a percentile (0 < share < 1) with an error of up to 2 %, or None when there are too few samples."""
        if self.answered < sample_floor(100 * share):
            return None
        rank, seen = math.ceil(share * self.answered), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= rank:
                return math.exp((bucket + 1) * _WIDTH) / 1000
        raise AssertionError(f"{self.answered} requests were answered, but there are {seen} latencies")

    def to_row(self) -> list[Any]:
        """Return the second as a list of JSON values."""
        counts = [self.due, self.answered, self.failed, self.throttled]
        return [*counts, self.late_seconds, sorted(self.latencies.items())]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Second:
        """Restore a second from the result of `to_row`."""
        due, answered, failed, throttled, late_seconds, latencies = row
        buckets = Counter({int(bucket): count for bucket, count in latencies})
        return cls(due, answered, failed, throttled, late_seconds, buckets)

    def to_json(self) -> dict[str, Any]:
        """Return counts and percentiles for `loadtest.json`, in milliseconds; a percentile may be None."""
        counts = {"due": self.due, "answered": self.answered, "failed": self.failed, "throttled": self.throttled}
        late = {"late_ms": 1000 * self.late_seconds}
        return {**counts, **late, **{f"p{100 * share:g}_ms": self.percentile_ms(share) for share in REPORTED}}


def timeline(seconds: Mapping[int, Second]) -> list[dict[str, Any]]:
    """Return one row per second, in order, for `loadtest.json`; latencies are in milliseconds."""
    return [_row(moment, seconds.get(moment, Second())) for moment in range(max(seconds, default=-1) + 1)]


def locust_history(seconds: Mapping[int, Second], measured_from: float, users: int) -> list[dict[str, Any]]:
    """Return the points of Locust's charts: one per second, instead of Locust's sliding means over ten seconds."""
    return [_point(row, measured_from, users) for row in timeline(seconds)]


def by_stage(seconds: Mapping[int, Second], stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return one row for `loadtest.json` for each group of consecutive stages with the same name.

    A second belongs to the stage in which it begins, so the rows are exact for stages of whole seconds.
    """
    rows, begin = [], 0.0
    for name, group in itertools.groupby(stages, key=lambda stage: stage.name):
        parts = list(group)
        end = begin + total_seconds(parts)
        asked = expected_arrivals(parts) / (end - begin)
        limits = {"name": name, "begin": round(begin, 6), "end": round(end, 6), "asked_rps": asked}
        rows.append({**limits, **_within(seconds, begin, end).to_json()})
        begin = end
    return rows


def intervals(seconds: Mapping[int, Second], *, longest_seconds: int) -> list[dict[str, Any]]:
    """Divide the run into intervals of whole seconds, each as short as p95's sample floor and the limit allow."""
    rows, begin, kept = [], 0, Second()
    last = max(seconds, default=-1)
    for moment in range(last + 1):
        kept.add(seconds.get(moment, Second()))
        is_full = kept.answered >= sample_floor(95) or moment + 1 - begin >= longest_seconds
        if is_full or moment == last:
            rows.append({"begin": begin, "end": moment + 1, **kept.to_json()})
            begin, kept = moment + 1, Second()
    return rows


def _within(seconds: Mapping[int, Second], begin: float, end: float) -> Second:
    whole = Second()
    for moment, second in seconds.items():
        if begin <= moment < end:
            whole.add(second)
    return whole


def _row(moment: int, second: Second) -> dict[str, Any]:
    return {"second": moment, **second.to_json()}


def _point(row: Mapping[str, Any], measured_from: float, users: int) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(int(measured_from) + row["second"] + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {f"response_time_percentile_{share}": row[f"p{100 * share:g}_ms"] for share in CHARTED}
    values["current_rps"] = row["answered"] + row["failed"]
    values["current_fail_per_sec"] = row["failed"]
    values["total_avg_response_time"] = row["p50_ms"]
    values["user_count"] = users
    return {"time": stamp, **{name: [stamp, value] for name, value in values.items()}}
