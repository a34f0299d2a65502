"""`kennel schedule set | drift | show | pause | resume`: when a model is trained anew, or drift is looked for."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from kennel import flags
from kennel.commands.drift import Hours, Level, Promote, Retrain
from kennel.commands.models import PROMOTION
from kennel.servers import environment
from kennel.servers.schedules import DRIFT, Schedule
from kennel.terminal.console import begin, print_json, print_table, say
from kennel.terminal.stages import SERVERS
from tasks.run.errors import SettingsRefused

schedule = App(
    name="schedule", help="Have a model trained anew, or drift looked for, on a schedule, by a Prefect worker."
)
WORKER = "prefect worker start --pool kennel"
Cron = Annotated[str, Parameter(help="Minute, hour, day of the month, month, day of the week.")]
Timezone = Annotated[str, Parameter(help="The time zone of these times, such as Europe/Berlin.")]
OfDrift = Annotated[
    bool, Parameter(name="--drift", negative="", help="The schedule of looks for drift, not of retrainings.")
]


@schedule.command(name="set")
def set_schedule(
    run_id: flags.KnownRun,
    /,
    *,
    cron: Cron = "0 3 * * *",
    timezone: Timezone = "UTC",
    data: Annotated[
        str | None,
        Parameter(help="A URL, an archive, a folder, s3://BUCKET/PREFIX/ or `sample`; default the run's own source."),
    ] = None,
    at_least_hours: Annotated[
        float, Parameter(validator=Number(gte=0, lte=8784), help="So many hours lie between two trainings.")
    ] = 0.0,
    promote_on: Annotated[
        Literal["better", "not worse"],
        Parameter(group=PROMOTION, help="What suffices: shown to be better, or shown to be not worse."),
    ] = "better",
    promote: Annotated[bool, Parameter(group=PROMOTION, help="Promote a model that may be.")] = True,
    budget: flags.Budget = None,
    json: flags.Json = False,
) -> int:
    """Train a run's model anew on a schedule; a schedule that it has is changed, and goes on if it was paused.

    Raises:
        SettingsRefused: there is no such run, the times are none, or the source has a secret in it.
    """
    begin("kennel schedule", (SERVERS,))
    from kennel.commands.known_runs import run_dir_of
    from kennel.servers import schedules
    from tasks.run.handle import RunFolder
    from tasks.run.records import DatasetRef

    run = RunFolder(run_dir_of(environment.home_and_runs()[1], run_id))
    source = _storable(data or run.need(DatasetRef).source)
    parameters: dict[str, Any] = {"data": source, "at_least_hours": at_least_hours, "promote_on": promote_on}
    parameters |= {"promotes": promote, **({} if budget is None else {"budget_usd": budget})}
    return _put(run_id, cron, timezone, parameters, schedules.FLOW, as_json=json)


@schedule.command(name="drift")
def set_drift(
    run_id: flags.KnownRun,
    /,
    *,
    cron: Cron = "0 4 * * *",
    timezone: Timezone = "UTC",
    hours: Hours = 24,
    level: Level = 0.05,
    retrain: Retrain = False,
    promote: Promote = True,
    budget: flags.Budget = None,
    json: flags.Json = False,
) -> int:
    """Look for drift at a run's endpoint on a schedule, as `kennel drift`; what it finds is told to KENNEL_NOTIFY.

    Raises:
        SettingsRefused: there is no such run, its endpoint keeps no requests, or the times are none.
    """
    begin("kennel schedule", (SERVERS,))
    from kennel.commands.known_runs import run_dir_of
    from kennel.servers import schedules
    from tasks.drift.look import capturing_endpoint
    from tasks.run.handle import RunFolder
    from tasks.run.records import DatasetRef

    run = RunFolder(run_dir_of(environment.home_and_runs()[1], run_id))
    capturing_endpoint(run)
    parameters: dict[str, Any] = {"hours": hours, "level": level, "retrains": retrain, "promotes": promote}
    parameters |= {"data": _storable(run.need(DatasetRef).source)} if retrain else {}
    parameters |= {} if budget is None else {"budget_usd": budget}
    return _put(run_id, cron, timezone, parameters, schedules.DRIFT, as_json=json)


def _put(run_id: str, cron: str, timezone: str, parameters: dict[str, Any], flow_name: str, *, as_json: bool) -> int:
    from pydantic import ValidationError

    from kennel.servers import schedules

    _start()
    try:
        found = schedules.put(run_id, cron, timezone, parameters, flow_name=flow_name)
    except ValidationError as error:
        what, why = f"--cron {cron!r} --timezone {timezone!r}", error.errors()[0]["msg"]
        raise SettingsRefused("schedule", what, why, "kennel schedule set --help") from error
    _print([found], as_json=as_json)
    say(f"a worker has to run for it: {WORKER}")
    return 0


@schedule.command(name="show")
def show(run_id: flags.RunName = None, /, *, json: flags.Json = False) -> int:
    """Show the schedules of all endpoints, or of one: its next times and its latest run."""
    begin("kennel schedule", (SERVERS,))
    from kennel.servers import schedules

    _start()
    found = [each for each in schedules.find() if run_id in (None, each.run_id)]
    _print(found, as_json=json)
    if not found:
        say("there is no schedule")
    return 0


@schedule.command(name="pause")
def pause(run_id: flags.KnownRun, /, *, drift: OfDrift = False, json: flags.Json = False) -> int:
    """Pause an endpoint's schedule; what runs goes on.

    Raises:
        SettingsRefused: the endpoint has no schedule.
    """
    return _pause(run_id, of_drift=drift, is_paused=True, as_json=json)


@schedule.command(name="resume")
def resume(run_id: flags.KnownRun, /, *, drift: OfDrift = False, json: flags.Json = False) -> int:
    """Let a paused schedule go on.

    Raises:
        SettingsRefused: the endpoint has no schedule.
    """
    return _pause(run_id, of_drift=drift, is_paused=False, as_json=json)


def _pause(run_id: str, *, of_drift: bool, is_paused: bool, as_json: bool) -> int:
    begin("kennel schedule", (SERVERS,))
    from kennel.servers import schedules

    _start()
    found = schedules.pause(run_id, is_paused=is_paused, flow_name=schedules.DRIFT if of_drift else schedules.FLOW)
    if found is None:
        cure = f"kennel schedule drift {run_id}" if of_drift else f"kennel schedule set {run_id}"
        raise SettingsRefused("schedule", f"run {run_id}", "it has no such schedule", cure)
    _print([found], as_json=as_json)
    return 0


def _start() -> None:
    from kennel.servers import isolation, prefect, work_pool

    where = environment.start_servers(lambda: environment.import_flow("flows.drift"))
    with isolation.prefect_imported_in(prefect.folder(where.home)):
        work_pool.ensure()


def _storable(source: str) -> str:
    """Return a source that Prefect may store; a path is whole, because a worker may run in another folder.

    Raises:
        SettingsRefused: its URL has a secret or a query, which its name leaves out.
    """
    from tasks.run.source_name import source_name

    if source_name(source) != source or "..." in source:
        why = "Prefect stores the parameters of a schedule, and this source may have a secret in its URL"
        raise SettingsRefused("schedule", source_name(source), why, "name a source without one: --data <folder or URL>")
    return str(Path(source).expanduser().resolve()) if os.path.exists(source) else source  # noqa: PTH110


def _print(found: list[Schedule], *, as_json: bool) -> None:
    if as_json:
        print_json({"schedules": [asdict(each) for each in found]})
        return
    for each in found:
        rows = {
            "schedule": f"{each.cron} in {each.timezone}" + (", paused" if each.is_paused else ""),
            "next": ", ".join(each.next_times) or "none",
            "latest run": each.latest or "none",
            "parameters": ", ".join(f"{name}={value}" for name, value in each.parameters.items() if name != "run_id"),
        }
        title = "look for drift at" if each.flow == DRIFT else "retraining of"
        print_table(f"{title} {each.run_id}", rows)
