"""Decides the rates of a load ladder: the next rate, which one counts as MAX_RPS, and when to stop. It is pure.

Each rung of the ladder is a short run at one rate. Rates rise by a factor until one breaks the SLO; then the gap
between the last rate that kept it and the first that broke it is bisected geometrically until it is small enough. A
void rung is no evidence about the target, because the generator was the bottleneck or other programs disturbed it. It
is repeated once; then the ladder stops and says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.run.errors import SettingsRefused

Verdict = Literal["kept", "broke", "void"]
SAMPLES = 170
"""p95 needs 130 answers (MLPerf's early-stopping rule). The number of arrivals is random, so a rung aims at 170."""


@dataclass(frozen=True)
class Slo:
    """The limits that a rung has to keep: the p95 of the answered requests, and the share of failed requests."""

    p95_ms: float
    max_error_rate: float


@dataclass(frozen=True)
class LadderRules:
    """The rules of a ladder. Rates are in requests/s, durations in real seconds.

    Raises (constructing):
        SettingsRefused: a rule is out of bounds.
    """

    first_rps: float = 8.0
    factor: float = 1.6
    precision: float = 0.12
    least_seconds: float = 3.0
    most_rungs: int = 16
    most_rps: float = 100_000.0
    least_rps: float = 0.1

    def __post_init__(self) -> None:
        """Check the bounds."""
        fits = 0 < self.least_rps <= self.first_rps <= self.most_rps and 1.05 <= self.factor <= 10
        if not (fits and 0.01 <= self.precision <= 1 and self.least_seconds > 0 and 2 <= self.most_rungs <= 100):
            why = "0 < least ≤ first ≤ most rate, factor 1.05 to 10, precision 0.01 to 1, 2 to 100 rungs"
            raise SettingsRefused("load ladder", str(self), why, "choose rules within these bounds")

    def seconds(self, rps: float) -> float:
        """Return the duration of a rung that is long enough for its p95."""
        return math.ceil(10 * max(self.least_seconds, SAMPLES / rps)) / 10


@dataclass(frozen=True)
class Rung:
    """A short run at one rate: `rps` was requested and `achieved_rps` was sent. `why` explains the verdict.

    `mean_ms` is the mean of the answered requests, and `n` is their number. Percentiles are None with too few samples.
    `disturbed` says how other programs disturbed the run; it is "" when none did.
    """

    number: int
    rps: float
    seconds: float
    verdict: Verdict
    why: str
    requests: int
    n: int
    failures: int
    achieved_rps: float
    p50_ms: float | None
    p95_ms: float | None
    mean_ms: float | None
    lag_p99_ms: float | None
    generator_cpu: float
    file: str
    disturbed: str = ""

    @property
    def sustained_rps(self) -> float:
        """The rate that the rung proves: the sent rate, limited to the requested one, which chance may exceed."""
        return min(self.rps, self.achieved_rps)


@dataclass(frozen=True)
class Ceiling:
    """The rate that this machine answers when `instances` serve together: `rps` of `asked_rps` requests/s.

    Only the embedded AWS has such a ceiling, because its instances share this machine's processors. It `binds` when an
    undisturbed run answered clearly less than was requested; otherwise the machine carries at least `rps`.
    """

    instances: int
    asked_rps: float
    rps: float
    n: int
    file: str
    binds: bool


@dataclass(frozen=True)
class Ladder:
    """All rungs in the order in which they ran, and why the ladder `stopped`.

    The `sustained_rps` of `best` is MAX_RPS.
    """

    target: str
    slo_p95_ms: float
    max_error_rate: float
    rungs: tuple[Rung, ...]
    stopped: str

    @property
    def best(self) -> Rung | None:
        """The rung with the highest rate that kept the SLO, below every rate that broke it; None without one."""
        return best_rung(self.rungs)

    @property
    def lowest(self) -> Rung | None:
        """The rung with the lowest rate that kept the SLO, which is nearest to an idle instance."""
        return min((rung for rung in self.rungs if rung.verdict == "kept"), key=lambda rung: rung.rps, default=None)


def climb(
    measure: Callable[[int, float, float], Rung],
    rules: LadderRules,
    *,
    target: str,
    slo: Slo,
) -> Ladder:
    """Call `measure(number, rps, seconds)` for one rate after another and return the ladder."""
    rungs: list[Rung] = []
    while True:
        rps, stopped = next_rate(rungs, rules)
        if rps is None:
            return Ladder(target, slo.p95_ms, slo.max_error_rate, tuple(rungs), stopped)
        rungs.append(_void_if_disturbed(measure(len(rungs) + 1, rps, rules.seconds(rps))))


def _void_if_disturbed(rung: Rung) -> Rung:
    """Return a disturbed rung that broke the SLO as void, because the cause is not known."""
    if rung.verdict == "broke" and rung.disturbed:
        return replace(rung, verdict="void", why=f"{rung.disturbed}; {rung.why}")
    return rung


def next_rate(rungs: Sequence[Rung], rules: LadderRules) -> tuple[float | None, str]:
    """Return the next rate, or None and why the ladder ends."""
    if not rungs:
        return rules.first_rps, ""
    last = rungs[-1]
    if last.verdict == "void":
        if sum(rung.verdict == "void" and rung.rps == last.rps for rung in rungs) < 2:
            return last.rps, ""
        return None, f"the run at {last.rps:.4g}/s was void twice: {last.why}"
    if len(rungs) >= rules.most_rungs:
        return None, f"the limit of {rules.most_rungs} rungs was reached"
    best, broke = best_rung(rungs), _lowest_broken(rungs)
    if broke is None:
        rate = last.rps * rules.factor
        return (
            (rate, "") if rate <= rules.most_rps else (None, f"the largest rate of {rules.most_rps:g}/s kept the SLO")
        )
    if best is None:
        rate = broke / rules.factor
        return (rate, "") if rate >= rules.least_rps else (None, f"not even {broke:.4g}/s kept the SLO")
    if broke / best.rps <= 1 + rules.precision:
        return None, f"{best.rps:.4g}/s kept the SLO, {broke:.4g}/s broke it"
    return math.sqrt(best.rps * broke), ""


def best_rung(rungs: Sequence[Rung]) -> Rung | None:
    """Return the rung with the highest rate that kept the SLO, below every rate that broke it; None without one."""
    broke = _lowest_broken(rungs)
    kept = [rung for rung in rungs if rung.verdict == "kept" and (broke is None or rung.rps < broke)]
    return max(kept, key=lambda rung: rung.rps, default=None)


def _lowest_broken(rungs: Sequence[Rung]) -> float | None:
    return min((rung.rps for rung in rungs if rung.verdict == "broke"), default=None)
