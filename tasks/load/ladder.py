"""Measures MAX_RPS of one instance with a ladder of rates: short runs of the load generator directly at the endpoint.

Each rung keeps its Locust report in `runs/<id>/ladder/rung-NN/`. The caller makes sure that one instance serves and
that scaling is suspended. `tasks.load.rungs` decides the rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.load.disturbance import EXTERNAL_SIGNALS, Bounds
from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load.machine_watch import MachineWatch
from tasks.load.rungs import Ceiling, Ladder, LadderRules, Rung, Slo, Verdict, climb
from tasks.run.errors import Inconclusive, StageFailed
from tasks.run.record_store import load_record
from tasks.run.records import EndpointRef, LoadReport
from tasks.run.settings import Settings
from tasks.run.waiting import say

WARM_UP_SECONDS = 0.5
MOST_BOUND = 0.9
"""A machine that answers more than this share of the requested rate is not the bottleneck."""


@dataclass(frozen=True)
class LadderRun:
    """A ladder's target, the images to send, and the SLO to keep."""

    settings: Settings
    run_dir: Path
    endpoint: EndpointRef
    images: Sequence[Path]
    slo: Slo
    rules: LadderRules = field(default_factory=LadderRules)
    processes: int = 1
    seed: int = 0
    bounds: Bounds | None = None

    def climb(self) -> Ladder:
        """Run rungs until MAX_RPS is known precisely enough.

        Raises:
            StageFailed: no rate kept the SLO, or the target failed.
            Inconclusive: no rate kept the SLO, and a rung was void or disturbed.
            WaitTimedOut: a run did not end in time.
        """
        ladder = climb(
            self.measure,
            self.rules,
            target=self.endpoint.name,
            slo=self.slo,
        )
        if ladder.best is None:
            why = f"{ladder.stopped}; the SLO is p95 ≤ {self.slo.p95_ms:g} ms, errors ≤ {self.slo.max_error_rate:.2%}"
            remedy = "use a faster instance type, a higher slo_p95_ms, or a quieter machine for the load generator"
            kind = (
                Inconclusive if any(rung.disturbed or rung.verdict == "void" for rung in ladder.rungs) else StageFailed
            )
            raise kind("load ladder", f"no MAX_RPS of {self.endpoint.name} was found", why, remedy)
        say(f"ladder: MAX_RPS {ladder.best.sustained_rps:.1f}/s after {len(ladder.rungs)} rungs; {ladder.stopped}")
        return ladder

    def measure(self, number: int, rps: float, seconds: float) -> Rung:
        """Run one rung.

        Raises:
            StageFailed: the target failed, or the generator left no result.
            WaitTimedOut: the run did not end in time.
        """
        report, disturbed = self._send(f"rung-{number:02d}", number, rps, seconds)
        rung = rung_from_report(number, rps, seconds, report, self.slo, disturbed=disturbed)
        p95 = "unknown" if rung.p95_ms is None else f"{rung.p95_ms:.0f} ms"
        say(f"ladder: {rps:.1f}/s for {seconds:g} s: p95 {p95} (n = {rung.n}), {rung.failures} failed: {rung.verdict}")
        return rung

    def ceiling(self, ladder: Ladder, instances: int) -> Ceiling:
        """Measure the rate that this machine carries with several instances; request as much as all could carry.

        Raises:
            StageFailed: the target failed, or the generator left no result.
            WaitTimedOut: the run did not end in time.
        """
        assert ladder.best is not None, "a ladder without MAX_RPS has raised"
        rps = instances * ladder.best.sustained_rps
        report, disturbed = self._send("all-instances", len(ladder.rungs) + 1, rps, self.rules.least_seconds)
        seconds = report.seconds + (report.max_ms or 0.0) / 1000  # until the last answer, at the latest
        answered = report.answered / seconds
        binds = report.is_valid and not disturbed and answered < MOST_BOUND * rps
        meaning = "this is the machine's ceiling" if binds else "the machine carries at least that"
        say(f"ladder: {instances} instances together answered {answered:.1f}/s of {rps:.1f}/s: {meaning}")
        return Ceiling(instances, rps, answered, report.answered, report.files["json"], binds)

    def _send(self, name: str, number: int, rps: float, seconds: float) -> tuple[LoadReport, str]:
        """Run the load generator directly at the endpoint; return its report and what disturbed it ("" for nothing)."""
        folder = self.run_dir / "ladder" / name
        options = GeneratorOptions(
            warm_up_seconds=WARM_UP_SECONDS,
            drain_seconds=30.0,
            processes=self.processes,
            seed=self.seed + number,
            time_scale=self.settings.time_scale,
        )
        with MachineWatch(self.settings) as watch:
            try:
                run_load_test(
                    self.settings,
                    folder,
                    target=self.endpoint,
                    images=list(self.images),
                    rate_per_second=rps,
                    seconds=seconds,
                    options=options,
                    say=lambda _: None,
                )
            except StageFailed:
                report = load_record(folder, LoadReport)
                if report is None or (report.why_failed and report.answered):
                    raise
        found = load_record(folder, LoadReport)
        assert found is not None, "a load test that returns has kept its record"
        reasons = () if self.bounds is None else self.bounds.exceeded(watch.samples, EXTERNAL_SIGNALS)
        return found, "; ".join(reasons)


def rung_from_report(
    number: int,
    rps: float,
    seconds: float,
    report: LoadReport,
    slo: Slo,
    *,
    disturbed: str = "",
) -> Rung:
    """Return the rung that follows from a report."""
    verdict, why = _verdict(report, slo)
    mean = None if report.concurrency is None or not report.achieved_rps else report.concurrency / report.achieved_rps
    return Rung(
        number=number,
        rps=rps,
        seconds=seconds,
        verdict=verdict,
        why=why,
        requests=report.requests,
        n=report.answered,
        failures=report.failures,
        achieved_rps=report.achieved_rps,
        p50_ms=report.p50_ms,
        p95_ms=report.p95_ms,
        mean_ms=None if mean is None else 1000 * mean,
        lag_p99_ms=report.lag_p99_ms,
        generator_cpu=report.generator_cpu,
        file=report.files["json"],
        disturbed=disturbed,
    )


def _verdict(report: LoadReport, slo: Slo) -> tuple[Verdict, str]:
    """Judge a run. The generator is checked first, because a saturated one gives no evidence about the target."""
    if not report.is_valid:
        return "void", report.why_invalid or "the generator gave no reason"
    errors = report.failures / report.requests if report.requests else 1.0
    if errors > slo.max_error_rate:
        return "broke", f"{errors:.2%} of {report.requests} requests failed and {slo.max_error_rate:.2%} may"
    if report.p95_ms is None:
        return "void", f"{report.answered} answers are too few for p95"
    if report.p95_ms > slo.p95_ms:
        return "broke", f"p95 {report.p95_ms:.0f} ms > {slo.p95_ms:g} ms (n = {report.answered})"
    return "kept", f"p95 {report.p95_ms:.0f} ms ≤ {slo.p95_ms:g} ms (n = {report.answered})"
