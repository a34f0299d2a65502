"""`kennel loadtest`: load-test a run's deployment, or check a scaling plan against it, or show Locust's page."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kennel.commands import run as running
from kennel.servers import surroundings
from kennel.terminal import console
from kennel.terminal.console import print_json, print_table, say
from tasks.run.errors import Inconclusive, SettingsRefused, StageFailed
from tasks.run.settings import Settings
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


@dataclass(frozen=True)
class UiOptions:
    """What Locust's page is started with."""

    through: str
    rate_per_second: float
    seconds: float
    port: int


def traffic_of(path: Path | None, stated: Mapping[str, float | None]) -> dict[str, float] | None:
    """Return the traffic statement of a file, or of arguments, None where neither says anything.

    Raises:
        SettingsRefused: both are given, a rate is missing, or a number is out of bounds.
    """
    given = {name: value for name, value in stated.items() if value is not None}
    if path is not None:
        if given:
            why = "the file is the whole statement"
            raise SettingsRefused("kennel loadtest", f"--traffic and {', '.join(given)}", why, "give one of the two")
        return _fields(Traffic.from_file(path))
    if not given:
        return None
    missing = [name for name in RATES if name not in given]
    if missing:
        wanted = ", ".join(f"--{name.removesuffix('_rps')}" for name in missing)
        raise SettingsRefused("kennel loadtest", f"{wanted} is missing", "a statement names all three rates", wanted)
    return _fields(Traffic.from_mapping({**STATED, **given}))


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


def test(run_id: str, parameters: Mapping[str, Any], *, as_json: bool) -> int:
    """Run the flow `loadtest` in this process and print what came of it; return the exit code.

    Raises:
        SettingsRefused: a parameter is out of bounds, or the run has nothing to test.
        KennelError: the kind that the failing stage names; `StageFailed` when the test or a verdict failed.
    """
    running.tell_on_interrupt()
    _require_run(run_id)
    where = surroundings.bring_up(meanwhile=lambda: surroundings.import_flow("flows.loadtest"))
    console.works_on(where.runs / run_id)
    say(f"AWS: {where.description}")

    from prefect.exceptions import ParameterTypeError

    from flows.loadtest import loadtest
    from flows.pipeline import StageClock

    refused: StageFailed | None = None
    try:
        asyncio.run(StageClock().time("loadtest", loadtest(run_id, **parameters)))
    except ParameterTypeError as error:
        why, helps = str(error), "kennel loadtest --help"
        raise SettingsRefused("kennel loadtest", "an argument is out of bounds", why, helps) from error
    except StageFailed as error:
        refused = error
    report, result = _records(where.runs / run_id, parameters["mode"])
    if refused is not None and result is None and report is None:
        raise refused
    _show(run_id, report, result, refused, as_json=as_json)
    if refused is None:
        return 0
    says_more = result is None or isinstance(refused, Inconclusive)
    return console.print_error(refused, as_json=False, why=None if says_more else running.SEE_VERDICTS)


def show_page(run_id: str, options: UiOptions) -> int:
    """Start Locust's page on loopback and stay until Ctrl-C; return the exit code.

    Raises:
        SettingsRefused: the run has nothing to test, or the port is taken.
        StageFailed, WaitTimedOut: it does not come up.
    """
    if options.through == "both":
        why = "a page has one target"
        raise SettingsRefused("kennel loadtest --ui", "--through both", why, "--through function, or endpoint")
    _require_run(run_id)
    where = surroundings.use_running()
    if where is None:
        why = "a page needs a deployment that runs"
        raise SettingsRefused("kennel loadtest --ui", "the embedded AWS does not run", why, "kennel run")

    from tasks.load.images import fetch_test_images
    from tasks.load.page import start_ui
    from tasks.run.aws import Aws
    from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, load_record

    aws, run_dir = Aws(Settings.load()), where.runs / run_id
    kind: type[EndpointRef | FunctionRef] = FunctionRef if options.through == "function" else EndpointRef
    target, dataset = load_record(run_dir, options.through, kind), load_record(run_dir, "stage_data", DatasetRef)
    if target is None or dataset is None:
        what = f"it has no {options.through} or no staged data"
        raise SettingsRefused("kennel loadtest --ui", f"run {run_id}", what, "kennel run")
    images = fetch_test_images(aws, dataset, run_dir / "loadtest-images", count=16)
    rate, seconds = options.rate_per_second, options.seconds
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    with start_ui(
        aws, run_dir, target=target, images=images, rate_per_second=rate, seconds=seconds, port=options.port, say=say
    ) as page:
        try:
            page.wait()
        except KeyboardInterrupt:
            say("ended; what was measured: " + str(page.folder))
    return 0


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _require_run(run_id: str) -> None:
    """Refuse a run that is not there before anything is started for it.

    Raises:
        SettingsRefused: there is no such run; those that there are are named.
    """
    from kennel.commands.status import run_dir_of

    run_dir_of(surroundings.home_and_runs()[1], run_id)


def _fields(traffic: Traffic) -> dict[str, float]:
    return dict(vars(traffic))


def _records(run_dir: Path, mode: str) -> tuple[LoadReport | None, ScalingVerdicts | None]:
    """Return what a test of this mode has kept: a checked one's verdicts hold its loads too."""
    from tasks.load.report import STAGE
    from tasks.run.records import LoadReport, load_record
    from tasks.verdicts.check import SCALING, ScalingVerdicts

    if mode == "checked":
        return None, load_record(run_dir, SCALING, ScalingVerdicts)
    return load_record(run_dir, STAGE, LoadReport), None


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
        print_json({"run_id": run_id, "loadtest": load_json(report), "scaling": scaling, **error})
        return
    rows = {} if report is None else {"load test": load_text(report), "page": report.files["html"]}
    if result is not None:
        every = verdict_rows(result)
        paths = {name: text for name, text in every.items() if name.startswith(("throttled first", "picture"))}
        rows |= every if console.is_verbose() else {**checked_rows(result), **paths}
    print_table(f"kennel loadtest {run_id}", rows)
    if result is not None:
        console.print_lines(verdict_lines(result.verdicts))
