"""What spoils a measurement, and when a stretch of a load test counts as disturbed. Pure; reads nothing.

Each signal is looked at again and again while a load runs (`tasks.load.machine_watch`). Before the load, the machine is
watched at rest for two seconds: that is the noise floor. A stretch is disturbed where a signal exceeds its bound: the
floor, and what kennel's own load adds to it on a machine that does nothing else, up to a limit beyond which no floor
excuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

WINDOW_SECONDS = 2.0
"""A share is judged by the worst stretch of this length: the mean of a long stage would hide a stall of seconds."""


@dataclass(frozen=True)
class Signal:
    """One thing that is watched: a share of the time in [0, 1] (of processor time for the first and "stolen"), or ms.

    `allowance` is what may come on top of the floor, `most` the largest bound there is.
    """

    name: str
    what: str
    unit: Literal["share", "ms"]
    allowance: float
    most: float

    def bound(self, floor: float) -> float:
        """Return the value above which a stretch is disturbed, from what was seen at rest."""
        return min(self.most, floor + self.allowance)

    def text(self, value: float) -> str:
        """Return a value of this signal to be read."""
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
"""The allowances were found on a quiet machine of 2 cores (docs/decisions.md): the demo's own load stays below them."""
BY_NAME = {signal.name: signal for signal in SIGNALS}
_STAGE = re.compile(r"^(baseline|ramp|peak|spike|return): ")
_FIGURES = re.compile(r"[\d.]+")
EXTERNAL_SIGNALS = ("other_cpu", "memory_pressure", "io_pressure", "steal")
"""What no load of ours causes: a step of the ladder that overloads an instance may well raise the others."""


@dataclass(frozen=True)
class MachineSample:
    """What was seen in the `seconds` up to `at` (Unix time), by the names of `SIGNALS`; what was not seen is absent."""

    at: float
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Bounds:
    """The bound of each signal, and the floor that it rests on, seen in `seconds` at rest.

    What shows only under load, as the lateness of the load generator, or was not answered at rest, has a floor of 0.
    """

    floor: Mapping[str, float]
    seconds: float
    limits: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_rest(cls, samples: Sequence[MachineSample]) -> Bounds:
        """Return the bounds that follow from a machine at rest."""
        floor = worst_values(samples)
        limits = {signal.name: signal.bound(floor.get(signal.name, 0.0)) for signal in SIGNALS}
        return cls(
            floor, round(sum(sample.seconds for sample in samples if "cpu_pressure" in sample.values), 2), limits
        )

    @property
    def noise_ms(self) -> float:
        """How late this machine was at rest, at the worst: no latency is told more exactly here."""
        return self.floor.get("watch_late_ms", 0.0)

    @property
    def unnoticed_ms(self) -> float:
        """By how much a moment may be late without its stretch counting as disturbed."""
        return self.limits.get("watch_late_ms", 0.0)

    def exceeded(self, samples: Sequence[MachineSample], names: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return a reason for each signal (of `names`, or all) that these looks show above its bound."""
        seen, wanted = worst_values(samples), set(self.limits if names is None else names)
        return tuple(
            f"{BY_NAME[name].what} {BY_NAME[name].text(value)} (bound {BY_NAME[name].text(self.limits[name])})"
            for name, value in seen.items()
            if name in wanted and name in self.limits and value > self.limits[name]
        )

    def text(self) -> str:
        """Return floor and bounds in one line."""
        parts = [
            f"{BY_NAME[name].what} {self._floor_text(name)}bound {BY_NAME[name].text(limit)})"
            for name, limit in self.limits.items()
        ]
        return f"at rest for {self.seconds:g} s: " + ", ".join(parts)

    def _floor_text(self, name: str) -> str:
        return f"{BY_NAME[name].text(self.floor[name])} (" if name in self.floor else "… (not seen at rest, "


def distinct_reasons(reasons: Iterable[str]) -> str:
    """Return each kind of reason once, as it came first: "peak: waiting for a disk 40% (bound 20%); …" and the like."""
    kinds: dict[str, str] = {}
    for reason in reasons:
        for part in reason.split("; "):
            clause = _STAGE.sub("", part)
            kinds.setdefault(_FIGURES.sub("", clause), clause)
    return "; ".join(kinds.values())


def samples_between(samples: Iterable[MachineSample], begin: float, end: float) -> list[MachineSample]:
    """Return the looks that lie in a stretch of Unix time, by their middles."""
    return [sample for sample in samples if begin <= sample.at - sample.seconds / 2 < end]


def worst_values(samples: Sequence[MachineSample]) -> dict[str, float]:
    """Return each signal's worst value: the largest lateness, the largest mean share of any two seconds."""
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
    """Return the largest mean over windows of consecutive looks (each: end, seconds, share)."""
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
