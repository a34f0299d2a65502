"""Defines the two inputs of a scaling plan: the traffic that a deployment has to carry, and what was measured of it.

`Traffic` is a person's statement, checked against bounds and read from JSON or flow parameters. `Measured` holds the
figures of load tests, each with its number of samples and the run file that holds it. Nothing here calls AWS.

Rates, latencies and durations are in real time. `ramp_seconds` and `instance_startup_seconds` are in AWS time, which
passes `time_scale` times faster on the embedded AWS.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from pydantic import ConfigDict, Field

from tasks.run.errors import SettingsRefused
from tasks.run.sealed import parse_given_json, read_regular

MAX_RPS = 10_000_000.0
_EXAMPLE = '{"baseline_rps": 5, "peak_rps": 40, "spike_rps": 60, "ramp_seconds": 600, "slo_p95_ms": 500, …}'


@dataclass(frozen=True)
class Traffic:
    """The traffic to carry, the quality of service to keep, and the budget.

    Rates are requests a second, baseline ≤ peak ≤ spike. `ramp_seconds` is the time from baseline to peak in AWS time,
    0 for a step. Error and throttle rates are shares of the requests. `peak_share` is the share of a month at peak; the
    rest is at baseline. The cost of a spike is ignored because it is short.

    Raises (constructing):
        SettingsRefused: a field is out of bounds, or the rates are not in order.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", field_title_generator=lambda name, _: name)

    baseline_rps: Annotated[float, Field(ge=1e-3, le=MAX_RPS, description="Requests a second, mostly.")]
    peak_rps: Annotated[float, Field(ge=1e-3, le=MAX_RPS, description="Requests a second, at the busiest time.")]
    spike_rps: Annotated[float, Field(ge=1e-3, le=MAX_RPS, description="Requests a second, for moments.")]
    ramp_seconds: Annotated[float, Field(ge=0.0, le=86_400.0, description="From baseline to peak; 0 is a step.")]
    slo_p95_ms: Annotated[float, Field(ge=1.0, le=60_000.0, description="95 % of the requests take no longer.")]
    max_error_rate: Annotated[float, Field(ge=0.0, le=0.5, description="A share: 0.01 is 1 %.")]
    max_throttle_rate: Annotated[float, Field(ge=1e-6, le=0.5, description="A share of the requests; never 0.")]
    monthly_budget_usd: Annotated[float, Field(ge=0.0, le=1e9, description="Endpoint and function together.")]
    peak_share: Annotated[float, Field(ge=0.0, le=1.0, description="The share of a month at peak.")] = 0.1

    def __post_init__(self) -> None:
        """Check the bounds."""
        for name, (low, high) in _BOUNDS.items():
            _require(f"traffic.{name}", getattr(self, name), low, high)
        if not self.baseline_rps <= self.peak_rps <= self.spike_rps:
            what = f"baseline_rps={self.baseline_rps:g}, peak_rps={self.peak_rps:g}, spike_rps={self.spike_rps:g}"
            why = "the rates have to satisfy baseline ≤ peak ≤ spike"
            raise SettingsRefused("traffic", what, why, "put the rates in that order")

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Self:
        """Build the statement from named values, such as a flow's parameters.

        Raises:
            SettingsRefused: a field is missing, unknown, not a number or out of bounds.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - set(known))
        required = [name for name, field in known.items() if field.default is dataclasses.MISSING]
        missing = [name for name in required if name not in fields]
        if unknown or missing:
            what = f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}"
            raise SettingsRefused("traffic", what, f"the fields are {', '.join(known)}", f"write {_EXAMPLE}")
        return cls(**{name: _number(f"traffic.{name}", value) for name, value in fields.items()})

    def at_pace(self, pace: float) -> Self:
        """Return the statement for a machine that is `pace` (0 to 1) times as fast: lower rates and a larger SLO."""
        rates = {name: getattr(self, name) * pace for name in ("baseline_rps", "peak_rps", "spike_rps")}
        return dataclasses.replace(self, **rates, slo_p95_ms=self.slo_p95_ms / pace)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build the statement from a JSON object.

        Raises:
            SettingsRefused: the text is not a JSON object, or as `from_mapping`.
        """
        try:
            content = parse_given_json(text)
        except ValueError as error:
            raise SettingsRefused("traffic", "the text is not JSON", str(error), f"write {_EXAMPLE}") from error
        if not isinstance(content, dict):
            why = "the statement has to be a JSON object"
            raise SettingsRefused("traffic", type(content).__name__, why, f"write {_EXAMPLE}")
        return cls.from_mapping(content)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the statement from a JSON file.

        Raises:
            SettingsRefused: the file cannot be read, or as `from_json`.
        """
        try:
            text = read_regular(path).decode()
        except (OSError, ValueError) as error:
            raise SettingsRefused("traffic", str(path), str(error), "name a text file that exists") from error
        return cls.from_json(text)

    @property
    def mean_rps(self) -> float:
        """The month's average rate, requests a second."""
        return self.baseline_rps * (1.0 - self.peak_share) + self.peak_rps * self.peak_share

    @property
    def ramp_rps_per_second(self) -> float:
        """The growth of the rate from baseline to peak, requests/s per second of AWS time; infinite for a step."""
        rise = self.peak_rps - self.baseline_rps
        if rise == 0.0:
            return 0.0
        return rise / self.ramp_seconds if self.ramp_seconds else math.inf


@dataclass(frozen=True)
class Figure:
    """A measured value, the number of samples behind it, and the run file that holds it.

    Raises (constructing):
        SettingsRefused: the value is not finite and positive, there are no samples, or no source is named.
    """

    value: float
    n: int
    source: str

    def __post_init__(self) -> None:
        """Check the bounds."""
        _require(f"figure of {self.source or 'no source'}", self.value, 1e-6, 1e9)
        if self.n < 1 or not self.source:
            why = "a figure has at least one sample and names the file that it was read from"
            raise SettingsRefused("figure", f"{self.value:g}, n={self.n}, source={self.source!r}", why, "measure it")


@dataclass(frozen=True)
class MemoryPoint:
    """The function's duration at one memory size. `used_mb` is Lambda's "Max Memory Used", None when unknown."""

    memory_mb: int
    mean_ms: Figure
    p95_ms: Figure
    used_mb: Figure | None = None

    def __post_init__(self) -> None:
        """Check the bounds: Lambda gives a function 128 to 10,240 MB."""
        _require("memory_mb", self.memory_mb, 128, 10_240)


@dataclass(frozen=True)
class Measured:
    """The results of the load tests.

    `max_rps_per_instance` is the highest rate at which one instance, without scaling, kept the SLO. Service times are
    the endpoint's latencies on an idle instance, as its caller sees them. Function durations are Lambda's, without
    start-up, at `function_memory_mb`; `cold_start_ms` is the 95th percentile of the start-ups alone. `memory_points`
    are further sizes that were measured. `instance_startup_seconds` is the time from a scale-out decision until the
    instance serves, in AWS time: wall seconds × `time_scale`. `noise_ms` is this machine's largest lateness at rest,
    `unnoticed_ms` the largest lateness in a stage that still counts as undisturbed. `disturbed` says which measurement
    other programs disturbed; it is "" when none was.

    Raises (constructing):
        SettingsRefused: the time scale or the memory is out of bounds, or a p95 lies below its p50.
    """

    max_rps_per_instance: Figure
    service_p50_ms: Figure
    service_p95_ms: Figure
    function_mean_ms: Figure
    function_p50_ms: Figure
    function_p95_ms: Figure
    cold_start_ms: Figure
    instance_startup_seconds: Figure
    instance_type: str
    function_memory_mb: int
    time_scale: float = 1.0
    memory_points: tuple[MemoryPoint, ...] = ()
    noise_ms: float = 0.0
    unnoticed_ms: float = 0.0
    disturbed: str = ""

    def __post_init__(self) -> None:
        """Check the bounds."""
        _require("measured.time_scale", self.time_scale, 1.0, 10_000.0)
        _require("measured.function_memory_mb", self.function_memory_mb, 128, 10_240)
        for what, low, high in (
            ("service", self.service_p50_ms, self.service_p95_ms),
            ("function", self.function_p50_ms, self.function_p95_ms),
        ):
            if low.value > high.value:
                why = "the 95th percentile cannot be below the median"
                raise SettingsRefused(
                    "measured", f"{what} p50 {low.value:g} ms > p95 {high.value:g} ms", why, "measure"
                )


def _bounds(hint: Any) -> tuple[float, float]:
    least, most = hint.__metadata__[0].metadata
    return least.ge, most.le


_BOUNDS = {name: _bounds(hint) for name, hint in get_type_hints(Traffic, include_extras=True).items()}


def _require(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        why = f"it has to be between {low:g} and {high:g}"
        raise SettingsRefused(name, f"{value!r}", why, f"set {name} within these bounds")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsRefused(name, repr(value), "it has to be a number", f"write {name} without quotes")
    return float(value)


SAMPLE_TRAFFIC = Traffic(
    baseline_rps=8.0,
    peak_rps=60.0,
    spike_rps=64.0,
    ramp_seconds=0.0,
    slo_p95_ms=400.0,
    max_error_rate=0.01,
    max_throttle_rate=0.01,
    monthly_budget_usd=1000.0,
)
"""The demo's traffic statement, for instances that carry about 60 to 95 requests/s: one instance carries the peak
within the SLO until more of them serve."""
