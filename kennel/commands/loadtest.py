"""`kennel loadtest`: load-test a run's deployment, or check a scaling plan against it, or show Locust's page."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import flags
from kennel.terminal import console
from kennel.terminal.journey import load_seconds
from tasks.load.options import LoadOptions, ScalingOptions, SendingOptions
from tasks.run.errors import Inconclusive, SettingsRefused, StageFailed
from tasks.scaling.traffic import Traffic

if TYPE_CHECKING:
    from tasks.run.records import LoadReport
    from tasks.verdicts.check import ScalingVerdicts

RATES = ("baseline_rps", "peak_rps", "spike_rps")
STATED = {
    "ramp_seconds": 0.0,
    "slo_p95_ms": 500.0,
    "max_error_rate": 0.01,
    "max_throttle_rate": 0.01,
    "monthly_budget_usd": 1000.0,
}
"""What a statement by arguments has where nothing else is said."""

_SCALING = flags.flags_of(
    flags.PLAN, names={"remeasures": "remeasure"}, without=("traffic", "overrides", "pace"), has_no=True
)


@dataclass(frozen=True)
class StatedTraffic:
    """The fields of a traffic statement that arguments state."""

    baseline_rps: Annotated[float | None, Parameter(name="--baseline", help="Requests a second, mostly.")] = None
    peak_rps: Annotated[float | None, Parameter(name="--peak", help="Requests a second, at the busiest time.")] = None
    spike_rps: Annotated[float | None, Parameter(name="--spike", help="Requests a second, for moments.")] = None
    ramp_seconds: Annotated[float | None, Parameter(help="From baseline to peak; 0 is a step.")] = None
    slo_p95_ms: float | None = None
    max_error_rate: Annotated[float | None, Parameter(help="A share: 0.01 is 1 %.")] = None
    max_throttle_rate: float | None = None
    monthly_budget_usd: float | None = None


def loadtest(
    run_id: Annotated[str, Parameter(help="The run whose deployment it is.")],
    /,
    *,
    sending: Annotated[SendingOptions, flags.flags_of(flags.LOAD, without=("seed",))] = SendingOptions(),
    traffic: Annotated[
        Path | None, Parameter(group=flags.TRAFFIC, help="A JSON file with the whole statement.")
    ] = None,
    stated: Annotated[StatedTraffic, Parameter(name="*", group=flags.TRAFFIC)] = StatedTraffic(),
    scaling: Annotated[ScalingOptions, _SCALING] = ScalingOptions(),
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set", group=flags.PLAN, negative="", help="name=value: a number of the plan, by hand, to be judged."
        ),
    ] = (),
    ui: Annotated[bool, Parameter(name="--ui", negative="", help="Locust's page on loopback, until Ctrl-C.")] = False,
    port: Annotated[int, Parameter(help="Of Locust's page; 0 is any free one.")] = 8089,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Load-test as the flags say and return the exit code.

    Raises:
        SettingsRefused: the traffic statement does not fit, or the run has nothing to test.
        KennelError: the kind that the failing stage names; `StageFailed` when the test or a verdict failed.
    """
    stages, expects = () if ui else ("servers", "loadtest"), load_seconds(sending.mode, sending.seconds)
    console.begin("kennel loadtest", stages, expects=expects, quiet=quiet, verbose=verbose)
    if ui:
        return show_page(run_id, sending, port=port)
    load = LoadOptions.of(sending, scaling, traffic=traffic_of(traffic, stated), overrides=overrides_of(set_))
    return test(run_id, load, as_json=json)


def traffic_of(path: Path | None, stated: StatedTraffic) -> Traffic | None:
    """Return the traffic statement of a file, or of arguments, None where neither says anything.

    Raises:
        SettingsRefused: both are given, a rate is missing, or a number is out of bounds.
    """
    given = {name: value for name, value in vars(stated).items() if value is not None}
    if path is not None:
        if given:
            why = "the file is the whole statement"
            raise SettingsRefused("kennel loadtest", f"--traffic and {', '.join(given)}", why, "give one of the two")
        return Traffic.from_file(path)
    if not given:
        return None
    missing = [name for name in RATES if name not in given]
    if missing:
        wanted = ", ".join(f"--{name.removesuffix('_rps')}" for name in missing)
        raise SettingsRefused("kennel loadtest", f"{wanted} is missing", "a statement names all three rates", wanted)
    return Traffic.from_mapping({**STATED, **given})


def overrides_of(texts: tuple[str, ...]) -> dict[str, float]:
    """Return the numbers of `--set name=value`.

    Raises:
        SettingsRefused: a text is not of that form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            why = "a number of the plan is set as name=value" if equals else "the value is missing"
            raise SettingsRefused("kennel loadtest", f"--set {text}", why, "--set target_value=60") from error
    return found


def test(run_id: str, load: LoadOptions, *, as_json: bool) -> int:
    """Run the flow `loadtest` in this process and print what came of it; return the exit code.

    Raises:
        SettingsRefused: the run has nothing to test.
        KennelError: the kind that the failing stage names; `StageFailed` when the test or a verdict failed.
    """
    from kennel.commands.interrupted import tell_on_interrupt
    from kennel.commands.outcome import SEE_VERDICTS
    from kennel.servers import surroundings

    tell_on_interrupt()
    _require_run(run_id)
    where = surroundings.bring_up(meanwhile=lambda: surroundings.import_flow("flows.loadtest"))
    console.works_on(where.runs / run_id)
    console.say(f"AWS: {where.description}")

    from flows.loadtest import loadtest as flow
    from flows.pipeline import StageClock

    refused: StageFailed | None = None
    try:
        asyncio.run(StageClock().time("loadtest", flow(run_id, load)))
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
    """Start Locust's page on loopback and stay until Ctrl-C; return the exit code.

    Raises:
        SettingsRefused: the run has nothing to test, or the port is taken.
        StageFailed, WaitTimedOut: it does not come up.
    """
    if load.through == "both":
        why = "a page has one target"
        raise SettingsRefused("kennel loadtest --ui", "--through both", why, "--through function, or endpoint")
    _require_run(run_id)
    from kennel.servers import surroundings

    if surroundings.use_running() is None:
        why = "a page needs a deployment that runs"
        raise SettingsRefused("kennel loadtest --ui", "the embedded AWS does not run", why, "kennel run")

    from tasks.load.images import fetch_test_images
    from tasks.load.web_interface import start_locust_interface
    from tasks.run.handle import Run
    from tasks.run.records import DatasetRef, EndpointRef, FunctionRef

    run = Run.load(run_id)
    target = run.need(FunctionRef) if load.through == "function" else run.need(EndpointRef)
    images = fetch_test_images(run.aws, run.need(DatasetRef), run.folder / "loadtest-images", count=16)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    with start_locust_interface(
        run,
        target=target,
        images=images,
        rate_per_second=load.rate_per_second,
        seconds=load.seconds,
        port=port,
        say=console.say,
    ) as page:
        try:
            page.wait()
        except KeyboardInterrupt:
            console.say("ended; what was measured: " + str(page.folder))
    return 0


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _require_run(run_id: str) -> None:
    """Refuse a run that is not there before anything is started for it.

    Raises:
        SettingsRefused: there is no such run; those that there are are named.
    """
    from kennel.commands.status import run_dir_of
    from kennel.servers import surroundings

    run_dir_of(surroundings.home_and_runs()[1], run_id)


def _records(run_dir: Path, mode: str) -> tuple[LoadReport | None, ScalingVerdicts | None]:
    """Return what a test of this mode has kept: a checked one's verdicts hold its loads too."""
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
