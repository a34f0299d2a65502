"""What was seen while a profile ran, on one time axis: real seconds from the beginning of the measured time.

Frozen records only; `tasks.verdicts.observation` fills them from AWS and Locust, `tasks.verdicts.observed` reads
predictions off them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.run.record_store import Record


@dataclass(frozen=True)
class Stretch:
    """A stage, or a stretch of it, as Locust saw it; latencies in ms, None under their floors of samples."""

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
        """How long it lasted."""
        return self.end - self.begin


@dataclass(frozen=True)
class Instances:
    """What DescribeEndpoint said at a moment."""

    at: float
    current: int
    desired: int
    status: str


@dataclass(frozen=True)
class Scaled:
    """A scaling activity; `ended` is None while it goes on."""

    at: float
    ended: float | None
    description: str
    cause: str
    status: str
    message: str


@dataclass(frozen=True)
class AlarmChange:
    """A change of an alarm's state; `alarm` is "high" (scale out) or "low" (scale in)."""

    at: float
    alarm: str
    state: str


@dataclass(frozen=True)
class Point:
    """A CloudWatch value of one minute of AWS's, which begins `at` and ends `until`."""

    at: float
    until: float
    value: float


@dataclass(frozen=True)
class Disturbed:
    """A stretch in which something else than the target shaped what was seen, and `why`: a stalled machine, say."""

    begin: float
    end: float
    why: str


@dataclass(frozen=True)
class Counts:
    """What one run sent, and what CloudWatch counted of it over the whole run, warm-up included.

    `unanswered` are requests that may or may not have reached the target: no connection, or no answer.
    """

    sent: int
    answered: int
    failed: int
    warm_up: int
    unanswered: int
    counted: float | None


@dataclass(frozen=True)
class Seen(Record, file="seen.json", called="observed profile", made_by="loadtest"):
    """A profile's run through one way (`through` is "function" or "endpoint"). `began` is a Unix time of this machine.

    `seconds` has (due, answered, failed) of each second; `series` holds CloudWatch by the names of
    `tasks.verdicts.observation.SERIES`, a name without data is left out. A run that is not valid is void (the generator
    was the bottleneck: it says nothing) unless `why_failed` says what became of its target. `disturbed` has the reasons
    for each stage that was disturbed, `stretches` the stretches themselves; `disturbed_by_others` has the reasons that
    no load of ours can cause.
    """

    through: str
    target: str
    began: float
    time_scale: float
    is_valid: bool
    why_invalid: str
    counts: Counts
    stages: tuple[Stretch, ...]
    intervals: tuple[Stretch, ...]
    seconds: tuple[tuple[int, ...], ...]
    instances: tuple[Instances, ...]
    activities: tuple[Scaled, ...]
    alarms: tuple[AlarmChange, ...]
    series: Mapping[str, tuple[Point, ...]]
    files: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    why_failed: str = ""
    disturbed: Mapping[str, str] = field(default_factory=dict)
    stretches: tuple[Disturbed, ...] = ()
    disturbed_by_others: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_void(self) -> bool:
        """Whether the run says nothing, because its generator was the bottleneck."""
        return not self.is_valid and not self.why_failed

    def stage(self, name: str) -> Stretch | None:
        """Return a stage by its name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def total(self, name: str, begin: float, end: float) -> float | None:
        """Return the sum of a series over the minutes that lie within; None when there is none, or no such series."""
        points = [point.value for point in self.within(name, begin, end)]
        return sum(points) if points else None

    def within(self, name: str, begin: float, end: float) -> list[Point]:
        """Return a series' minutes that lie within `begin` and `end`."""
        return [point for point in self.series.get(name, ()) if begin <= point.at and point.until <= end]

    def serving(self, at: float) -> int | None:
        """Return how many instances served at a moment, None before the first look."""
        before = [look.current for look in self.instances if look.at <= at]
        return before[-1] if before else None
