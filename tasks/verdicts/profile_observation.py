"""Records of everything observed while a profile ran, on one time axis: real seconds since the measurement began.

`tasks.verdicts.collect` fills these frozen records from AWS and Locust; `tasks.verdicts.observed_values` derives the
observed value of each prediction from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.run.record_store import Record


@dataclass(frozen=True)
class Interval:
    """Locust's figures of a stage or of a part of one. Latencies are in ms, or None with too few samples."""

    begin: float
    end: float
    due: int
    answered: int
    failed: int
    throttled: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    name: str = ""
    asked_rps: float | None = None

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self.end - self.begin


@dataclass(frozen=True)
class InstanceCounts:
    """The instance counts and status that DescribeEndpoint returned at one moment."""

    at: float
    current: int
    desired: int
    status: str


@dataclass(frozen=True)
class ObservedActivity:
    """A scaling activity. `ended` is None while it is in progress."""

    at: float
    ended: float | None
    description: str
    cause: str
    status: str
    message: str


@dataclass(frozen=True)
class AlarmChange:
    """A change of an alarm's state. `alarm` is "high" (scale out) or "low" (scale in)."""

    at: float
    alarm: str
    state: str


@dataclass(frozen=True)
class MetricPoint:
    """A CloudWatch value of one minute of AWS time, which begins `at` and ends `until`."""

    at: float
    until: float
    value: float


@dataclass(frozen=True)
class DisturbedInterval:
    """An interval in which something other than the target affected the measurement, and `why`: a stalled disk, say."""

    begin: float
    end: float
    why: str


@dataclass(frozen=True)
class RequestCounts:
    """The requests that a run sent, and how many CloudWatch counted over the whole run, warm-up included.

    `unanswered` counts requests without connection or answer, which may or may not have reached the target.
    """

    sent: int
    answered: int
    failed: int
    warm_up: int
    unanswered: int
    counted: float | None


@dataclass(frozen=True)
class ProfileObservation(Record, file="seen.json", called="observed profile", made_by="loadtest", stored_as="Seen"):
    """The observation of a profile's run through one way ("function" or "endpoint"). `began` is a Unix time.

    `seconds` has (due, answered, failed) of each second. `series` holds CloudWatch values by the names of
    `tasks.verdicts.collect.SERIES`; a series without data is left out. A run that is not valid is void, because its
    generator was the bottleneck, unless `why_failed` says why its target failed. `disturbed` has the reasons for each
    disturbed stage, and `stretches` the disturbed intervals. `disturbed_by_others` has only the reasons that kennel's
    own load cannot cause.
    """

    through: str
    target: str
    began: float
    time_scale: float
    is_valid: bool
    why_invalid: str
    counts: RequestCounts
    stages: tuple[Interval, ...]
    intervals: tuple[Interval, ...]
    seconds: tuple[tuple[int, ...], ...]
    instances: tuple[InstanceCounts, ...]
    activities: tuple[ObservedActivity, ...]
    alarms: tuple[AlarmChange, ...]
    series: Mapping[str, tuple[MetricPoint, ...]]
    files: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    why_failed: str = ""
    disturbed: Mapping[str, str] = field(default_factory=dict)
    stretches: tuple[DisturbedInterval, ...] = ()
    disturbed_by_others: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_void(self) -> bool:
        """Whether the run cannot be judged because its generator was the bottleneck."""
        return not self.is_valid and not self.why_failed

    def stage(self, name: str) -> Interval | None:
        """Return a stage by its name, or None."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def total(self, name: str, begin: float, end: float) -> float | None:
        """Return the sum of a series over the whole minutes between `begin` and `end`; None when there are none."""
        points = [point.value for point in self.within(name, begin, end)]
        return sum(points) if points else None

    def within(self, name: str, begin: float, end: float) -> list[MetricPoint]:
        """Return the minutes of a series that lie between `begin` and `end`."""
        return [point for point in self.series.get(name, ()) if begin <= point.at and point.until <= end]

    def serving(self, at: float) -> int | None:
        """Return how many instances served at a moment, or None before the first poll."""
        before = [poll.current for poll in self.instances if poll.at <= at]
        return before[-1] if before else None
