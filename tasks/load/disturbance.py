"""Decides when other activity on the machine disturbed a part of a load test. The functions are pure.

`tasks.load.machine_watch` samples each signal while a load runs. Before the load, two seconds at rest give the noise
floor. An interval is disturbed when a signal exceeds its bound: the floor plus the allowance for kennel's own load,
but never more than a fixed maximum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

WINDOW_SECONDS = 2.0
"""A share is judged by its worst window of this length, because the mean of a long stage would hide a short stall."""


@dataclass(frozen=True)
class Signal:
    """A monitored quantity: a share of time in [0, 1] (of processor time for "other_cpu" and "steal"), or ms.

    Its bound is the noise floor plus `allowance`, and at most `most`.
    """

    name: str
    what: str
    unit: Literal["share", "ms"]
    allowance: float
    most: float

    def bound(self, floor: float) -> float:
        """Return the value above which an interval is disturbed, from the noise floor."""
        return min(self.most, floor + self.allowance)

    def text(self, value: float) -> str:
        """Return a value of this signal as text."""
        return f"{value:.0%}" if self.unit == "share" else f"{value:.0f} ms"


SIGNALS = (
    Signal("other_cpu", "other programs on full processors", "share", 0.20, 0.30),
    Signal("cpu_pressure", "waiting for a processor", "share", 0.55, 0.80),
    Signal("memory_pressure", "waiting for memory", "share", 0.05, 0.10),
    Signal("io_pressure", "waiting for a disk", "share", 0.20, 0.30),
    Signal("steal", "stolen by the hypervisor", "share", 0.05, 0.10),
    Signal("watch_late_ms", "kennel late by", "ms", 100.0, 150.0),
    Signal("generator_late_ms", "load generator late by", "ms", 100.0, 150.0),
    Signal("loop_late_ms", "embedded AWS late by", "ms", 100.0, 150.0),
    Signal("instance_late_ms", "model server's ping took", "ms", 150.0, 250.0),
)
"""The allowances were measured on an idle machine with 2 cores, where the demo's own load stays below them
(docs/decisions.md)."""
BY_NAME = {signal.name: signal for signal in SIGNALS}
_STAGE = re.compile(r"^(baseline|ramp|peak|spike|return): ")
_FIGURES = re.compile(r"[\d.]+")
EXTERNAL_SIGNALS = ("other_cpu", "memory_pressure", "io_pressure", "steal")
"""The signals that kennel's own load cannot raise. A ladder step that overloads an instance may raise the others."""


@dataclass(frozen=True)
class MachineSample:
    """The values of the signals, by name, in the `seconds` before `at` (Unix time). Unmeasured signals are absent."""

    at: float
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Bounds:
    """The bound of each signal, and its noise floor measured in `seconds` at rest.

    A signal that exists only under load, such as the generator's lateness, or was not measured at rest has a floor of
    0.
    """

    floor: Mapping[str, float]
    seconds: float
    limits: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_rest(cls, samples: Sequence[MachineSample]) -> Bounds:
        """Return the bounds that follow from the samples of a machine at rest."""
        floor = worst_values(samples)
        limits = {signal.name: signal.bound(floor.get(signal.name, 0.0)) for signal in SIGNALS}
        return cls(
            floor, round(sum(sample.seconds for sample in samples if "cpu_pressure" in sample.values), 2), limits
        )

    @property
    def noise_ms(self) -> float:
        """The largest lateness of this machine at rest: latencies measured here are not more exact than this."""
        return self.floor.get("watch_late_ms", 0.0)

    @property
    def unnoticed_ms(self) -> float:
        """The largest lateness that does not count as a disturbance."""
        return self.limits.get("watch_late_ms", 0.0)

    def exceeded(self, samples: Sequence[MachineSample], names: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return a reason for each signal (of `names`, or all) that exceeds its bound in these samples."""
        seen, wanted = worst_values(samples), set(self.limits if names is None else names)
        return tuple(
            f"{BY_NAME[name].what} {BY_NAME[name].text(value)} (bound {BY_NAME[name].text(self.limits[name])})"
            for name, value in seen.items()
            if name in wanted and name in self.limits and value > self.limits[name]
        )

    def text(self) -> str:
        """Return the noise floor and the bounds in one line."""
        parts = [
            f"{BY_NAME[name].what} {self._floor_text(name)}bound {BY_NAME[name].text(limit)})"
            for name, limit in self.limits.items()
        ]
        return f"at rest for {self.seconds:g} s: " + ", ".join(parts)

    def _floor_text(self, name: str) -> str:
        return f"{BY_NAME[name].text(self.floor[name])} (" if name in self.floor else "… (not measured at rest, "


def distinct_reasons(reasons: Iterable[str]) -> str:
    """Return each kind of reason once, with its first figures and without stages, joined by semicolons."""
    kinds: dict[str, str] = {}
    for reason in reasons:
        for part in reason.split("; "):
            clause = _STAGE.sub("", part)
            kinds.setdefault(_FIGURES.sub("", clause), clause)
    return "; ".join(kinds.values())


def samples_between(samples: Iterable[MachineSample], begin: float, end: float) -> list[MachineSample]:
    """Return the samples whose middles lie between two Unix times."""
    return [sample for sample in samples if begin <= sample.at - sample.seconds / 2 < end]


def worst_values(samples: Sequence[MachineSample]) -> dict[str, float]:
    """Return each signal's worst value: the largest lateness, or the largest mean share of any window."""
    found: dict[str, float] = {}
    for signal in SIGNALS:
        seen = sorted(
            (sample.at, sample.seconds, sample.values[signal.name])
            for sample in samples
            if signal.name in sample.values
        )
        if seen:
            found[signal.name] = _worst_share(seen) if signal.unit == "share" else max(value for _, _, value in seen)
    return found


def _worst_share(seen: Sequence[tuple[float, float, float]]) -> float:
    """Return the largest mean share over windows of consecutive samples, given as (end, seconds, share)."""
    best, begin, held, spent = 0.0, 0, 0.0, 0.0
    whole = sum(seconds for _, seconds, _ in seen)
    for _, seconds, share in seen:
        held, spent = held + seconds * share, spent + seconds
        while spent - seen[begin][1] >= WINDOW_SECONDS:
            held, spent = held - seen[begin][1] * seen[begin][2], spent - seen[begin][1]
            begin += 1
        if spent >= min(WINDOW_SECONDS, whole) * 0.99:
            best = max(best, held / spent)
    return best
