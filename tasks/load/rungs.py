"""The decisions of a ladder of rates: which rate next, which one counts as MAX_RPS, when to stop. Pure; runs nothing.

Rates rise by a factor until one breaks the SLO, then the gap between the last that kept it and the first that broke it
is halved (geometrically) until it is small enough. A void rung says nothing about the target, because the generator was
the bottleneck or other programs took the machine: it is repeated once, then the ladder stops and says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.run.errors import SettingsRefused

Verdict = Literal["kept", "broke", "void"]
SAMPLES = 170
"""p95 needs 130 answers (MLPerf's early-stopping rule); arrivals are random, so 170 are asked for."""


@dataclass(frozen=True)
class LadderRules:
    """How a ladder is climbed. Rates are requests/s, durations real seconds.

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
        """Return how long a rung lasts, so that p95 may be told of it."""
        return math.ceil(10 * max(self.least_seconds, SAMPLES / rps)) / 10


@dataclass(frozen=True)
class Rung:
    """One short run. `rps` was asked for, `achieved_rps` was sent; `why` says what broke or voided it.

    `mean_ms` is of the answered requests; percentiles are None under their floors of samples, `n` is their number.
    `disturbed` says what other programs did meanwhile, "" when nothing was seen.
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
        """The rate that a rung speaks for: what was sent, but no more than was asked for, which chance may exceed."""
        return min(self.rps, self.achieved_rps)


@dataclass(frozen=True)
class Ceiling:
    """What this machine carries when `instances` serve together: `rps` were answered, `asked_rps` asked for.

    Only the embedded AWS has one: its instances share this machine's processors. It `binds` when an undisturbed run
    answered clearly less than it was asked for; else the machine carries at least that.
    """

    instances: int
    asked_rps: float
    rps: float
    n: int
    file: str
    binds: bool


@dataclass(frozen=True)
class Ladder:
    """Every rung in the order in which it was run, and why no further one was.

    `best` kept the SLO, and its `sustained_rps` is MAX_RPS.
    """

    target: str
    slo_p95_ms: float
    max_error_rate: float
    rungs: tuple[Rung, ...]
    stopped: str

    @property
    def best(self) -> Rung | None:
        """The highest rate that kept the SLO below every one that broke it, None when none did."""
        return best_rung(self.rungs)

    @property
    def lowest(self) -> Rung | None:
        """The lowest rate that kept the SLO: nearest to an idle instance."""
        return min((rung for rung in self.rungs if rung.verdict == "kept"), key=lambda rung: rung.rps, default=None)


def climb(
    measure: Callable[[int, float, float], Rung],
    rules: LadderRules,
    *,
    target: str,
    slo_p95_ms: float,
    max_error_rate: float,
) -> Ladder:
    """Call `measure(number, rps, seconds)` for one rate after another and return what was found."""
    rungs: list[Rung] = []
    while True:
        rps, stopped = next_rate(rungs, rules)
        if rps is None:
            return Ladder(target, slo_p95_ms, max_error_rate, tuple(rungs), stopped)
        rungs.append(_doubted(measure(len(rungs) + 1, rps, rules.seconds(rps))))


def _doubted(rung: Rung) -> Rung:
    """Return a rung that broke beside other programs as void: what it broke by is not known."""
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
        return None, f"{rules.most_rungs} rungs were climbed"
    best, broke = best_rung(rungs), _lowest_broken(rungs)
    if broke is None:
        rate = last.rps * rules.factor
        return (rate, "") if rate <= rules.most_rps else (None, f"{rules.most_rps:g}/s kept the SLO: no more was asked")
    if best is None:
        rate = broke / rules.factor
        return (rate, "") if rate >= rules.least_rps else (None, f"not even {broke:.4g}/s kept the SLO")
    if broke / best.rps <= 1 + rules.precision:
        return None, f"{best.rps:.4g}/s kept the SLO, {broke:.4g}/s broke it"
    return math.sqrt(best.rps * broke), ""


def best_rung(rungs: Sequence[Rung]) -> Rung | None:
    """Return the rung with the highest rate that kept the SLO, among those below every rate that broke it."""
    broke = _lowest_broken(rungs)
    kept = [rung for rung in rungs if rung.verdict == "kept" and (broke is None or rung.rps < broke)]
    return max(kept, key=lambda rung: rung.rps, default=None)


def _lowest_broken(rungs: Sequence[Rung]) -> float | None:
    return min((rung.rps for rung in rungs if rung.verdict == "broke"), default=None)
