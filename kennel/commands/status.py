"""`kennel status`: shows the local servers, what each run does, its stages, and what of it is alive and costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kennel.commands.known_runs import all_runs, run_dir_of
from kennel.servers import environment, localaws, localaws_record, prefect, processes
from kennel.terminal.console import print_columns, print_json, print_table, say
from kennel.terminal.stages import TITLES, USUAL_SECONDS, earlier_seconds
from tasks.run.command_line import path_argument
from tasks.run.errors import LedgerRefused
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerHeader, LedgerRow, damaged, has_lost_its_ledger, inspect_ledger
from tasks.run.logical_aws import LogicalAws, is_lost
from tasks.run.progress_file import RunProgress, find_progress
from tasks.run.source_name import source_name

if TYPE_CHECKING:
    from tasks.report.running_cost import LiveResources

STAGES = ("stage_data", "train_sagemaker", "train_ec2", "deploy", "loadtest", "pipeline")
_RECORDS_OF = {"deploy": ("function",), "loadtest": ("loadtest", "scaling")}
REPORT = "report.html"


def status(run_id: str | None, *, as_json: bool) -> int:
    """Print the local servers, and the stages and existing resources of each run or of the one named.

    A damaged ledger is said, and the other runs are shown. The exit code is that of the damage for a run that is named.

    Raises:
        SettingsRefused: there is no such run.
    """
    home, runs = environment.home_and_runs()
    environment.say_home(home)
    environment.say_damage(home)
    services, aws = _services(home), environment.present_aws(home)
    earlier = cache(lambda: earlier_seconds(runs))
    folders = [run_dir_of(runs, run_id)] if run_id else all_runs(runs)
    chosen = [_shown(path, aws, earlier) for path in folders]
    code = LedgerRefused.exit_code if run_id and any(run.told["fault"] for run in chosen) else 0
    if as_json:
        print_json({"services": services, "home_bytes": size_of(home), "runs": [run.told for run in chosen]})
        return code
    shown = {name: url or "not running" for name, url in services.items()}
    print_table("services", shown | {"home": f"{path_argument(home)}, {size_of(home) / 1e6:,.1f} MB"})
    for run in chosen:
        print_table(f"run {run.told['run_id']}", _rows(run.told))
        if run.live:
            print_columns(("alive", "number", "USD an hour", "of what"), list(_cost_rows(run.live)), folds_all=True)
    if not chosen:
        say(f"there are no runs under {runs}")
    return code


@dataclass(frozen=True)
class _Shown:
    """A run as `status` shows it: its JSON, and what of it is alive, by kind."""

    told: dict[str, Any]
    live: list[LiveResources]


def _shown(run_dir: Path, present: LogicalAws | None, earlier: Callable[[], Mapping[str, float]]) -> _Shown:
    """Return what is said of a run: what `describe_run` does, the work on it, and what the live resources cost.

    "doing" is the running command's progress, or None; "interrupted" is the stage in which one ended, or None.
    """
    ledger = _read(run_dir)
    told = _description(run_dir, present, *ledger)
    header, rows, _ = ledger
    live = _costs(run_dir, header, rows) if told["live"] else []
    progress = find_progress(run_dir)
    goes_on = progress is not None and progress.goes_on
    told["doing"] = progress_json(progress, earlier()) if progress and goes_on else None
    told["interrupted"] = None if progress is None or goes_on else progress.stage or "between stages"
    told["costs"] = [_cost_json(each) for each in live]
    return _Shown(told, live)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder, of a link 0; a file that goes meanwhile counts nothing."""
    if folder.is_symlink():
        return 0
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def describe_run(run_dir: Path, present: LogicalAws | None) -> dict[str, Any]:
    """Return a run's finished stages, the resources that exist according to its ledger, and its report.

    `present` is the embedded AWS that runs for this home. "lost" are the resources of one that has ended, and "fault"
    is the damage of the ledger, or None; its undamaged rows are shown.
    """
    return _description(run_dir, present, *_read(run_dir))


def _description(
    run_dir: Path,
    present: LogicalAws | None,
    header: LedgerHeader | None,
    rows: tuple[LedgerRow, ...],
    fault: str | None,
) -> dict[str, Any]:
    is_past = header is not None and bool(rows) and is_lost(header.aws, present)
    listed = [{"kind": row.kind, "name": row.name, "state": row.state} for row in rows]
    report = run_dir / REPORT
    return {
        "run_id": run_dir.name,
        "endpoint": source_name(header.endpoint) if header else None,
        "account_id": header.account_id if header else None,
        "stages": [stage for stage in STAGES if _is_done(run_dir, stage)],
        "live": [] if is_past else listed,
        "lost": listed if is_past else [],
        "fault": fault,
        "report": str(report) if os.access(report, os.F_OK) else None,
    }


def progress_json(progress: RunProgress, earlier: Mapping[str, float]) -> dict[str, Any]:
    """Return what a process does with a run; "left_seconds" is an estimate from the stages of `earlier` runs."""
    spent, usual = progress.stage_seconds(), USUAL_SECONDS | dict(earlier)
    waiting = [name for name in progress.planned if name not in progress.seconds and name != progress.stage]
    left = max(0.0, usual.get(progress.stage or "", 0.0) - spent) + sum(usual.get(name, 0.0) for name in waiting)
    return {
        "pid": progress.pid,
        "stage": progress.stage,
        "stage_seconds": round(spent, 1),
        "planned": list(progress.planned),
        "seconds": progress.seconds,
        "text": progress.text,
        "left_seconds": round(left),
    }


def _costs(run_dir: Path, header: LedgerHeader | None, rows: Sequence[LedgerRow]) -> list[LiveResources]:
    """Return the live resources by kind with their costs; of records that cannot be read nothing is known."""
    from tasks.report.running_cost import HourlyCost, LiveResources, live_by_kind

    why = "the ledger's first line is damaged"
    try:
        if header is not None:
            return live_by_kind(RunFolder(run_dir), header.region, rows)
    except LedgerRefused as error:
        why = error.what
    names = tuple(row.name for row in rows)
    return [LiveResources("any", names, HourlyCost(None, None, why))] if rows else []


def _cost_json(live: LiveResources) -> dict[str, Any]:
    cost = live.cost
    usd = None if cost.least is None or cost.most is None else [cost.least, cost.most]
    return {"kind": live.kind, "names": list(live.names), "usd_per_hour": usd, "basis": cost.basis}


def _read(run_dir: Path) -> tuple[LedgerHeader | None, tuple[LedgerRow, ...], str | None]:
    """Return the header, the live rows and the fault of a run's ledger."""
    try:
        contents = inspect_ledger(run_dir)
    except LedgerRefused as error:
        return None, (), f"{error.what}: {error.why}"
    if contents.header is None and not contents.faults and has_lost_its_ledger(run_dir):
        return None, (), f"{run_dir / 'ledger.jsonl'} is missing: what the run created is found by its tags only"
    found = damaged(run_dir, contents.faults[0]) if contents.faults else None
    return contents.header, contents.live, f"{found.what}: {found.why}" if found else None


def _is_done(run_dir: Path, stage: str) -> bool:
    return any(os.access(run_dir / f"{record}.json", os.F_OK) for record in _RECORDS_OF.get(stage, (stage,)))


def _services(home: Path) -> dict[str, str | None]:
    # without a record of its own it runs all the same
    aws = localaws.find(home) or processes.find(home, localaws_record.NAME)
    server = processes.find(home, prefect.NAME)
    return {"localaws": aws.url if aws else None, "prefect": server.url if server else None}


def _rows(run: dict[str, Any]) -> dict[str, str]:
    lost = f"none: all {len(run['lost'])} were lost with the embedded AWS, which has ended" if run["lost"] else "none"
    ended = f"in: {TITLES.get(run['interrupted'], run['interrupted'])}; the same command goes on from there"
    return {
        **({"now": _doing_text(run["doing"])} if run["doing"] else {}),
        **({"interrupted": ended} if run["interrupted"] else {}),
        "AWS": f"{run['endpoint']}, account {run['account_id']}" if run["endpoint"] else "unknown",
        "stages done": ", ".join(run["stages"]) or "none",
        **({} if run["live"] else {"resources": lost}),
        **({"ledger": run["fault"]} if run["fault"] else {}),
        "report": run["report"] or "none yet",
    }


def _doing_text(doing: Mapping[str, Any]) -> str:
    stage, planned = doing["stage"], doing["planned"]
    if stage is None:
        return f"process {doing['pid']} is between stages"
    number = f"{planned.index(stage) + 1} of {len(planned)}, " if stage in planned else ""
    head = f"{number}{TITLES.get(stage, stage)}: {doing['stage_seconds']:.0f} s so far"
    left = f"about {doing['left_seconds']} s left (estimate)" if doing["left_seconds"] else ""
    return "\n".join(filter(None, (", ".join(filter(None, (head, left))), doing["text"], f"process {doing['pid']}")))


def _cost_rows(live: Sequence[LiveResources]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kind that is billed by the hour, one for each other basis, and one for all."""
    from tasks.report.running_cost import BY_USE, FREE, total_cost

    for each in live:
        if each.cost.basis not in {BY_USE, FREE}:
            yield ", ".join(each.names), str(len(each.names)), each.cost.text, each.cost.basis
    for basis in (BY_USE, FREE):
        alike = {each.kind: len(each.names) for each in live if each.cost.basis == basis}
        if alike:
            yield basis, str(sum(alike.values())), "", ", ".join(f"{count} {kind}" for kind, count in alike.items())
    total = total_cost(live)
    yield "all", str(sum(len(each.names) for each in live)), total.text, total.basis
