"""`kennel loadtest`: load-tests a run's deployment, checks a scaling plan with it, or serves Locust's page."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import flags
from kennel.signals import exit_code, install, interrupt
from kennel.terminal import console
from kennel.terminal.stages import load_seconds
from tasks.load.options import LoadOptions, ScalingOptions, SendingOptions, WorkerOptions, require_steady
from tasks.run.errors import Inconclusive, SettingsRefused, StageFailed
from tasks.scaling.traffic import Traffic

if TYPE_CHECKING:
    from tasks.load.web_interface import LocustInterface
    from tasks.run.records import LoadReport
    from tasks.verdicts.check import ScalingVerdicts

RATES = ("baseline_rps", "peak_rps", "spike_rps")
DEFAULTS = {
    "ramp_seconds": 0.0,
    "slo_p95_ms": 500.0,
    "max_error_rate": 0.01,
    "max_throttle_rate": 0.01,
    "monthly_budget_usd": 1000.0,
}
"""The default values of a traffic statement that is given by arguments."""

_SCALING = flags.flags_of(
    flags.PLAN,
    names={"remeasures": "remeasure", "forces": "force"},
    without=("traffic", "overrides", "pace"),
    has_no=True,
)


_WORKERS = flags.flags_of(flags.MACHINES, names={"budget_usd": "budget"})


@dataclass(frozen=True)
class StatedTraffic:
    """The fields of a traffic statement that are given by arguments; None is one that is not given."""

    baseline_rps: Annotated[float | None, Parameter(name="--baseline", help="Requests a second most of the time.")] = (
        None
    )
    peak_rps: Annotated[float | None, Parameter(name="--peak", help="Requests a second at the busiest time.")] = None
    spike_rps: Annotated[float | None, Parameter(name="--spike", help="Requests a second in short spikes.")] = None
    ramp_seconds: Annotated[float | None, Parameter(help="Seconds of the rise from baseline to peak; default 0.")] = (
        None
    )
    slo_p95_ms: Annotated[float | None, Parameter(help="The allowed 95th percentile of the latency; default 500.")] = (
        None
    )
    max_error_rate: Annotated[float | None, Parameter(help="The allowed share of errors; default 0.01.")] = None
    max_throttle_rate: Annotated[
        float | None, Parameter(help="The allowed share of throttled requests; default 0.01.")
    ] = None
    monthly_budget_usd: Annotated[float | None, Parameter(help="The budget in USD a month; default 1000.")] = None


def loadtest(
    run_id: Annotated[str, Parameter(help="The run whose deployment is tested.")],
    /,
    *,
    sending: Annotated[SendingOptions, flags.flags_of(flags.LOAD, without=("seed",))] = SendingOptions(),
    workers: Annotated[WorkerOptions, _WORKERS] = WorkerOptions(),
    plan: Annotated[
        bool,
        Parameter(name="--plan", group=flags.MACHINES, negative="", help="Show what the workers would cost, and end."),
    ] = False,
    traffic: Annotated[
        Path | None, Parameter(group=flags.TRAFFIC, help="A JSON file with the whole traffic statement.")
    ] = None,
    stated: Annotated[StatedTraffic, Parameter(name="*", group=flags.TRAFFIC)] = StatedTraffic(),
    scaling: Annotated[ScalingOptions, _SCALING] = ScalingOptions(),
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            group=flags.PLAN,
            negative="",
            help="name=value: set a number of the plan by hand and test it.",
        ),
    ] = (),
    ui: Annotated[
        bool, Parameter(name="--ui", negative="", help="Serve Locust's page on loopback until Ctrl-C, without a test.")
    ] = False,
    port: Annotated[int, Parameter(help="The port of Locust's page; 0 takes any free one.")] = 8089,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Run the load test that the flags describe, and return the exit code.

    Raises:
        SettingsRefused: the traffic statement is incomplete or out of bounds, the run has no deployment, or `--workers`
            does not fit the other flags.
        KennelError: the kind that the failing stage names; `StageFailed` when the test or a verdict failed.
    """
    require_fitting(workers, is_plan=plan, has_page=ui)
    stages, expects = () if ui else ("servers", "loadtest"), load_seconds(sending.mode, sending.seconds)
    console.begin("kennel loadtest", stages, expects=expects, quiet=quiet, verbose=verbose)
    if ui:
        return show_page(run_id, sending, port=port)
    load = LoadOptions.of(sending, scaling, traffic=traffic_of(traffic, stated), overrides=overrides_of(set_))
    if plan:
        return show_costs(run_id, load, workers)
    return test(run_id, load, workers, as_json=json)


def require_fitting(workers: WorkerOptions, *, is_plan: bool, has_page: bool) -> None:
    """Return if the flags of workers fit each other.

    Raises:
        SettingsRefused: `--ui` is given with `--workers`, or a flag about the workers is given without them.
    """
    if workers.workers and has_page:
        why = "the processes of Locust's page are on this machine"
        raise SettingsRefused("kennel loadtest", "--ui and --workers", why, "give one of the two")
    if workers.workers:
        return
    for flag, is_given in (
        ("--worker-type", workers.worker_type),
        ("--budget", workers.budget_usd),
        ("--plan", is_plan),
    ):
        if is_given:
            why = "it is about the instances of --workers"
            raise SettingsRefused("kennel loadtest", f"{flag} without --workers", why, f"--workers 2 {flag} …")


def traffic_of(path: Path | None, stated: StatedTraffic) -> Traffic | None:
    """Return the traffic statement of a file or of arguments, or None when neither is given.

    Raises:
        SettingsRefused: both are given, a rate is missing, or a number is out of bounds.
    """
    given = {name: value for name, value in vars(stated).items() if value is not None}
    if path is not None:
        if given:
            why = "the file has to contain the whole statement"
            raise SettingsRefused("kennel loadtest", f"--traffic and {', '.join(given)}", why, "give one of the two")
        return Traffic.from_file(path)
    if not given:
        return None
    missing = [name for name in RATES if name not in given]
    if missing:
        wanted = ", ".join(f"--{name.removesuffix('_rps')}" for name in missing)
        why = "a traffic statement needs all three rates"
        raise SettingsRefused("kennel loadtest", f"{wanted} is missing", why, wanted)
    return Traffic.from_mapping({**DEFAULTS, **given})


def overrides_of(texts: tuple[str, ...]) -> dict[str, float]:
    """Return the numbers of the plan that were given as `--set name=value`.

    Raises:
        SettingsRefused: a text does not have that form, or a number is given twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name in found:
            raise SettingsRefused("kennel loadtest", f"--set {text}", f"{name} is given twice", "give it once")
        try:
            found[name] = float(value)
        except ValueError as error:
            why = "the value has to be a number" if equals else "the value is missing"
            raise SettingsRefused("kennel loadtest", f"--set {text}", why, "--set target_value=60") from error
    return found


def show_costs(run_id: str, load: LoadOptions, workers: WorkerOptions) -> int:
    """Print what the workers cost, and what a high rate would need by the run's last measurement; return 0.

    Raises:
        SettingsRefused: there is no such run, the type is no EC2 type, or workers are asked for in mode `checked`.
        SpendingRefused: the workers may cost more than their budget.
    """
    require_steady(load, workers)
    _require_run(run_id)
    from kennel.servers import environment
    from tasks.ec2.prices import with_current_prices
    from tasks.load.workers.estimate import capacity_text, estimate, require_within_budget, worker_candidates
    from tasks.plan.spending import require_unspent
    from tasks.run.handle import Run, RunFolder
    from tasks.run.records import LoadReport

    candidates, spent_usd = worker_candidates(workers.worker_type), 0.0
    if environment.connect_to_running() is not None:
        run = Run.load(run_id)
        candidates = with_current_prices(run.aws, candidates)
        spent_usd = require_unspent(run, workers.budget_usd)
    costs = estimate(load, workers, candidates)
    report = RunFolder(environment.home_and_runs()[1] / run_id).find(LoadReport)
    capacity = "not measured yet: the first load test measures the requests a core"
    if report is not None and report.requests_per_core:
        capacity = capacity_text(report.requests_per_core, candidates, busy=report.generator_cpu)
    rows = {"workers": costs.text(), "prices": candidates.prices, "capacity": capacity}
    console.print_table(f"kennel loadtest {run_id} --plan", rows)
    require_within_budget(costs, workers.budget_usd, spent_usd=spent_usd)
    return 0


def test(run_id: str, load: LoadOptions, workers: WorkerOptions, *, as_json: bool) -> int:
    """Run the flow `loadtest` in this process, print its result, and return the exit code.

    Raises:
        SettingsRefused: the run has no deployment.
        KennelError: the kind that the failing stage names; `StageFailed` when the test or a verdict failed.
    """
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from kennel.commands.outcome import SEE_VERDICTS
    from kennel.servers import environment

    handle_interrupts()
    _require_run(run_id)
    environment.needs_the_run(run_id)
    where = environment.start_servers(meanwhile=lambda: environment.import_flow("flows.loadtest"))
    console.set_run(where.runs / run_id)
    console.say(f"AWS: {where.description}")

    from flows.loadtest import loadtest as flow
    from flows.stage_clock import StageClock

    refused: StageFailed | None = None
    try:
        run_flow(StageClock().time("loadtest", flow(run_id, load, workers)), where)
    except StageFailed as error:
        refused = error
    report, result = _records(where.runs / run_id, load.mode)
    if refused is not None and result is None and report is None:
        raise refused
    _show(run_id, report, result, refused, as_json=as_json)
    if refused is None:
        return 0
    says_more = result is None or isinstance(refused, Inconclusive)
    return console.print_error(refused, as_json=False, why=None if says_more else SEE_VERDICTS)


def show_page(run_id: str, load: SendingOptions, *, port: int) -> int:
    """Serve Locust's page on loopback until Ctrl-C, and return the exit code.

    Raises:
        SettingsRefused: the run has no deployment, or the port is taken.
        StageFailed: Locust ended while it started.
        WaitTimedOut: Locust's page did not answer in time.
    """
    if load.through == "both":
        why = "a page has one target"
        raise SettingsRefused("kennel loadtest --ui", "--through both", why, "--through function, or endpoint")
    _require_run(run_id)
    from kennel.servers import environment

    if environment.connect_to_running() is None:
        why = "Locust's page needs a running deployment"
        raise SettingsRefused(
            "kennel loadtest --ui", "the embedded AWS does not run", why, f"kennel run --run-id {run_id}"
        )

    from tasks.load.photos import fetch_test_images
    from tasks.load.web_interface import start_locust_interface
    from tasks.run.handle import Run
    from tasks.run.records import DatasetRef, EndpointRef, FunctionRef

    run = Run.load(run_id)
    target = run.need(FunctionRef) if load.through == "function" else run.need(EndpointRef)
    images = fetch_test_images(run.aws, run.need(DatasetRef), run.folder / "loadtest-images", count=16)
    install(interrupt)
    with start_locust_interface(
        run,
        target=target,
        images=images,
        rate_per_second=load.rate_per_second,
        seconds=load.seconds,
        port=port,
        say=console.say,
    ) as page:
        return wait_for_end(page)


def wait_for_end(page: LocustInterface) -> int:
    """Wait until Locust's page or this command is ended; return 0, and after SIGTERM or SIGHUP its exit code."""
    try:
        page.wait()
    except KeyboardInterrupt as interrupted:
        console.say(f"Locust's page has ended; its measurements are in {page.folder}")
        code = exit_code(interrupted)
        return 0 if code == 128 + signal.SIGINT else code  # Ctrl-C is how a person ends the page
    return 0


def _require_run(run_id: str) -> None:
    """Check that the run exists before anything is started for it.

    Raises:
        SettingsRefused: there is no such run; the error lists the known ones.
    """
    from kennel.commands.known_runs import run_dir_of
    from kennel.servers import environment

    run_dir_of(environment.home_and_runs()[1], run_id)


def _records(run_dir: Path, mode: str) -> tuple[LoadReport | None, ScalingVerdicts | None]:
    """Return the records of a test of this mode; the verdicts of a checked test contain its load reports."""
    from tasks.run.handle import RunFolder
    from tasks.run.records import LoadReport
    from tasks.verdicts.check import ScalingVerdicts

    run = RunFolder(run_dir)
    if mode == "checked":
        return None, run.find(ScalingVerdicts)
    return run.find(LoadReport), None


def _show(
    run_id: str,
    report: LoadReport | None,
    result: ScalingVerdicts | None,
    refused: StageFailed | None,
    *,
    as_json: bool,
) -> None:
    from kennel.commands.outcome import verdict_lines
    from tasks.load.report import load_json, load_text
    from tasks.verdicts.report import checked_rows, scaling_json, verdict_rows

    if as_json:
        scaling = None if result is None else scaling_json(result)
        error = {} if refused is None else console.error_json(refused)
        console.print_json({"run_id": run_id, "loadtest": load_json(report), "scaling": scaling, **error})
        return
    rows = {} if report is None else {"load test": load_text(report), "page": report.files["html"]}
    if result is not None:
        every = verdict_rows(result)
        paths = {name: text for name, text in every.items() if name.startswith(("throttled first", "picture"))}
        rows |= every if console.is_verbose() else {**checked_rows(result), **paths}
    console.print_table(f"kennel loadtest {run_id}", rows)
    if result is not None:
        console.print_lines(verdict_lines(result.verdicts))
