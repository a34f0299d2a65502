"""Measures everything that a scaling plan depends on, on one instance with scaling suspended; saves `ladder.json`.

First the machine is monitored at rest. A ladder of rates gives MAX_RPS and the endpoint's service time. Adding a second
instance gives the start-up time and, on the embedded AWS, the rate that this machine carries with both. A run through
the function gives its durations, which Lambda reports. Scaling is resumed at the end if it was suspended here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tasks.load.disturbance import EXTERNAL_SIGNALS, Bounds
from tasks.load.generator import GeneratorOptions, LoadStage, run_load_test
from tasks.load.ladder import WARM_UP_SECONDS, LadderRun
from tasks.load.machine_watch import MachineWatch, samples_at_rest, watch_at_rest
from tasks.load.rungs import SAMPLES, Ceiling, Ladder, LadderRules, Slo
from tasks.run.aws import Aws
from tasks.run.clock import AwsClock
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.machine import measured_on
from tasks.run.record_store import Amount, Record
from tasks.run.records import EndpointRef, FunctionRef
from tasks.run.sealed import parse_json, read_regular
from tasks.run.settings import Settings
from tasks.run.waiting import say
from tasks.scaling.traffic import Figure, Measured, Traffic
from tasks.serving.autoscaling import describe_scaling, resume_scaling, suspend_scaling
from tasks.serving.instances import set_instance_count
from tasks.serving.reports import InvocationReport, cold_starts, percentile, read_reports
from tasks.serving.spares import wait_for_spares

FOLDER = "ladder"
FUNCTION_SHARE = 0.5
"""The share of MAX_RPS at which the function is measured, so that the endpoint behind it is not the bottleneck."""
RISE_SECONDS = 2.0
MOST_FUNCTION_RUNS = 3
COLD_START_DAYS = 7.0


@dataclass(frozen=True)
class LadderRecord(Record, file="ladder.json", called="measured ladder", made_by="loadtest"):
    """The content of `runs/<id>/ladder.json`. `ceiling` is this machine's, None on real AWS."""

    ladder: Ladder
    measured: Measured
    hardware: str
    wall_seconds: Amount
    bounds: Bounds
    ceiling: Ceiling | None = None


def measure_deployment(
    run: Run,
    *,
    endpoint: EndpointRef,
    function: FunctionRef,
    images: Sequence[Path],
    traffic: Traffic,
    rules: LadderRules | None = None,
    processes: int = 1,
    seed: int = 0,
    bounds: Bounds | None = None,
) -> LadderRecord:
    """Measure one instance and the function; save and return the measurements.

    `bounds` define what is disturbed; None: found before the load.

    Raises:
        StageFailed: no rate kept the SLO, the target failed, or Lambda's log has no report.
        Inconclusive: no rate kept the SLO, and a run was void or disturbed.
        WaitTimedOut: an instance did not serve or a run did not end in time.
        AwsFailed: AWS refused.
    """
    begun = time.perf_counter()
    wait_for_spares(run.settings)
    bounds = bounds or watch_at_rest(run.settings)
    say(f"this machine {bounds.text()}")
    ladder_run = LadderRun(
        settings=run.settings,
        run_dir=run.folder,
        endpoint=endpoint,
        images=images,
        slo=Slo(traffic.slo_p95_ms, traffic.max_error_rate),
        rules=rules or LadderRules(),
        processes=processes,
        seed=seed,
        bounds=bounds,
    )
    with scaling_suspended(run.aws, endpoint):
        photo = images[0].read_bytes()
        set_instance_count(run.aws, endpoint, 1, photo=photo)
        ladder = ladder_run.climb()
        with second_instance(run.aws, endpoint, photo) as startup:
            ceiling = ladder_run.ceiling(ladder, instances=2) if run.aws.target.runs_on_this_machine else None
        reports, cold, disturbed = measure_function_undisturbed(run.aws, ladder_run, function, ladder, bounds)
    source = f"runs/{run.id}/{LadderRecord.file}"
    measured = measured_from(
        ladder, reports, cold, startup_seconds=startup, endpoint=endpoint, settings=run.settings, source=source
    )
    noise, unnoticed = round(bounds.noise_ms, 1), round(bounds.unnoticed_ms, 1)
    measured = replace(measured, noise_ms=noise, unnoticed_ms=unnoticed, disturbed=disturbed)
    wall_seconds = time.perf_counter() - begun
    record = LadderRecord(ladder, measured, measured_on(run.settings), wall_seconds, bounds, ceiling)
    run.keep(record)
    return record


@contextmanager
def scaling_suspended(aws: Aws, endpoint: EndpointRef) -> Iterator[None]:
    """Suspend the endpoint's scaling inside the block.

    Raises:
        AwsFailed: AWS refused.
    """
    before = describe_scaling(aws, endpoint.name, endpoint.variant)
    if before is None:
        yield
        return
    suspend_scaling(aws, endpoint.name, endpoint.variant)
    try:
        yield
    finally:
        if not before.is_suspended:
            resume_scaling(aws, endpoint.name, endpoint.variant)


@contextmanager
def second_instance(aws: Aws, endpoint: EndpointRef, photo: bytes) -> Iterator[float]:
    """Run a second instance inside the block; yield the seconds of AWS time until both classified `photo`.

    Raises:
        StageFailed: the endpoint failed during the change.
        WaitTimedOut: the second instance did not serve in time.
        AwsFailed: AWS refused.
    """
    try:
        seconds = AwsClock.from_settings(aws.settings).aws_seconds(set_instance_count(aws, endpoint, 2, photo=photo))
        say(f"ladder: a second instance served after {seconds:.0f} s of AWS time")
        yield seconds
    finally:
        set_instance_count(aws, endpoint, 1, photo=photo)


def measure_function_undisturbed(
    aws: Aws, run: LadderRun, function: FunctionRef, ladder: Ladder, bounds: Bounds
) -> tuple[list[InvocationReport], list[InvocationReport], str]:
    """Measure the function, and repeat it while other programs disturb it; return also what still did ("" for nothing).

    Raises:
        StageFailed: the run failed, or Lambda's log reports no invocation or no cold start.
        Inconclusive: the run is void because the generator was the bottleneck.
        AwsFailed: AWS refused.
    """
    for attempt in range(1, MOST_FUNCTION_RUNS + 1):
        with MachineWatch(aws.settings) as watch:
            reports, cold = measure_function(aws, run, function, ladder)
        disturbed = "; ".join(bounds.exceeded(watch.samples, EXTERNAL_SIGNALS))
        if (
            not disturbed
            or attempt == MOST_FUNCTION_RUNS
            or bounds.exceeded(samples_at_rest(aws.settings), EXTERNAL_SIGNALS)
        ):
            break
        say(f"ladder: the function is measured again, because other programs disturbed it: {disturbed}")
    return reports, cold, f"the function: {disturbed}" if disturbed else ""


def measure_function(
    aws: Aws, run: LadderRun, function: FunctionRef, ladder: Ladder
) -> tuple[list[InvocationReport], list[InvocationReport]]:
    """Send a moderate rate through the function; return Lambda's reports of warm invocations and of cold starts.

    The rate rises in two unmeasured steps first, so that the environments do not all start at the same moment.

    Raises:
        StageFailed: the run failed, or Lambda's log reports no invocation or no cold start.
        Inconclusive: the run is void because the generator was the bottleneck.
        AwsFailed: AWS refused.
    """
    assert ladder.best is not None, "a ladder without MAX_RPS has raised"
    began, rate = time.time(), FUNCTION_SHARE * ladder.best.rps
    measured = LoadStage(rate, run.rules.seconds(rate), "measured")
    report = run_load_test(
        aws.settings,
        run.run_dir / FOLDER / "function",
        target=function,
        images=list(run.images),
        rate_per_second=rate / 4,
        seconds=RISE_SECONDS,
        options=GeneratorOptions(
            first_name="rise",
            further_stages=(LoadStage(rate / 2, RISE_SECONDS, "rise"), measured),
            warm_up_seconds=WARM_UP_SECONDS,
            seed=run.seed,
            time_scale=aws.settings.time_scale,
        ),
        say=lambda _: None,
    )
    content = parse_json(read_regular(Path(report.files["json"])))
    since = datetime.fromisoformat(content["measured_from"]).timestamp() + 2 * RISE_SECONDS
    reports = read_reports(aws, function.name, since=since, expected=content["by_stage"][-1]["answered"])
    cold = cold_starts(aws, function.name, since=began - COLD_START_DAYS * 86_400)
    for what, found in (("an invocation", reports), ("a cold start", cold)):
        if not found:
            why = f"its log holds no REPORT line of {what}"
            raise StageFailed("load ladder", f"function {function.name}", why, "kennel logs --source function")
    return [each for each in reports if each.init_ms is None], cold


def measured_from(
    ladder: Ladder,
    reports: Sequence[InvocationReport],
    cold: Sequence[InvocationReport],
    *,
    startup_seconds: float,
    endpoint: EndpointRef,
    settings: Settings,
    source: str,
) -> Measured:
    """Return the measurements for a plan. `startup_seconds` is in AWS time.

    Raises:
        StageFailed: there are too few samples for the function's p95.
    """
    best, lowest = ladder.best, ladder.lowest
    assert best is not None and lowest is not None and lowest.p50_ms and lowest.p95_ms, "kept rungs have percentiles"
    if len(reports) < SAMPLES // 2:
        why = f"{len(reports)} REPORT lines are too few for a p95"
        raise StageFailed("load ladder", "the function's duration is unknown", why, "run the same command again")
    durations, n = [each.duration_ms for each in reports], len(reports)
    inits = [each.init_ms for each in cold if each.init_ms is not None]
    return Measured(
        max_rps_per_instance=Figure(best.sustained_rps, best.n, source),
        service_p50_ms=Figure(lowest.p50_ms, lowest.n, source),
        service_p95_ms=Figure(lowest.p95_ms, lowest.n, source),
        function_mean_ms=Figure(sum(durations) / n, n, source),
        function_p50_ms=Figure(percentile(durations, 0.5), n, source),
        function_p95_ms=Figure(percentile(durations, 0.95), n, source),
        cold_start_ms=Figure(percentile(inits, 0.95), len(inits), source),
        instance_startup_seconds=Figure(max(startup_seconds, 1e-3), 1, source),
        instance_type=endpoint.instance_type,
        function_memory_mb=reports[-1].memory_mb,
        time_scale=settings.time_scale,
    )
