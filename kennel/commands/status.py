"""`kennel status`: shows the local servers, what each run does, its stages, and what of it is alive and costs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kennel.commands.known_runs import all_runs, run_dir_of
from kennel.servers import environment, localaws, localaws_record, prefect, processes
from kennel.terminal.console import print_columns, print_json, print_table, say
from kennel.terminal.stages import TITLES, USUAL_SECONDS, earlier_seconds
from tasks.run.command_line import path_argument
from tasks.run.errors import LedgerRefused
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerHeader, LedgerRow, damaged, has_lost_its_ledger, inspect_ledger
from tasks.run.logical_aws import LogicalAws, is_lost
from tasks.run.progress_file import Doing, find_progress
from tasks.run.source_name import source_name

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
    chosen = [describe_run(path, aws) for path in ([run_dir_of(runs, run_id)] if run_id else all_runs(runs))]
    code = LedgerRefused.exit_code if run_id and any(run["fault"] for run in chosen) else 0
    if as_json:
        print_json({"services": services, "home_bytes": size_of(home), "runs": chosen})
        return code
    told = {name: url or "not running" for name, url in services.items()}
    print_table("services", told | {"home": f"{path_argument(home)}, {size_of(home) / 1e6:,.1f} MB"})
    for run in chosen:
        print_table(f"run {run['run_id']}", _rows(run))
        if run["live"]:
            print_columns(("alive", "number", "USD an hour", "of what"), list(_cost_rows(run["costs"])), folds_all=True)
    if not chosen:
        say(f"there are no runs under {runs}")
    return code


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
    """Return what is being done with a run, its finished stages, the resources that its ledger has, and its report.

    `present` is the embedded AWS that runs for this home. "lost" are the resources of one that has ended, "costs" what
    the live ones cost by the hour, and "fault" is the damage of the ledger, or None; its undamaged rows are shown.
    "doing" is the running command's, or None; "interrupted" is the stage in which a process was killed, or None.
    """
    header, rows, fault = _read(run_dir)
    is_past = header is not None and bool(rows) and is_lost(header.aws, present)
    listed = [{"kind": row.kind, "name": row.name, "state": row.state} for row in rows]
    report, doing = run_dir / REPORT, find_progress(run_dir)
    goes_on = doing is not None and doing.goes_on
    return {
        "run_id": run_dir.name,
        "endpoint": source_name(header.endpoint) if header else None,
        "account_id": header.account_id if header else None,
        "stages": [stage for stage in STAGES if _is_done(run_dir, stage)],
        "doing": progress_json(doing, earlier_seconds(run_dir.parent)) if doing and goes_on else None,
        "interrupted": None if doing is None or goes_on else doing.stage or "between stages",
        "live": [] if is_past else listed,
        "lost": listed if is_past else [],
        "costs": [] if is_past or header is None else _costs(run_dir, header.region, rows),
        "fault": fault,
        "report": str(report) if os.access(report, os.F_OK) else None,
    }


def progress_json(doing: Doing, earlier: Mapping[str, float]) -> dict[str, Any]:
    """Return what a process does with a run; "left_seconds" is an estimate from the stages of `earlier` runs."""
    spent = time.time() - doing.stage_began if doing.stage else 0.0
    usual = USUAL_SECONDS | dict(earlier)
    waiting = [name for name in doing.planned if name not in doing.seconds and name != doing.stage]
    left = max(0.0, usual.get(doing.stage or "", 0.0) - spent) + sum(usual.get(name, 0.0) for name in waiting)
    return {
        "pid": doing.pid,
        "stage": doing.stage,
        "stage_seconds": round(spent, 1),
        "planned": list(doing.planned),
        "seconds": doing.seconds,
        "text": doing.text,
        "left_seconds": round(left),
    }


def _costs(run_dir: Path, region: str, rows: Sequence[LedgerRow]) -> list[dict[str, Any]]:
    """Return the costs by kind; of records that cannot be read nothing is known."""
    from tasks.report.running_cost import alive_by_kind

    try:
        found = [(each, each.cost) for each in alive_by_kind(RunFolder(run_dir), region, rows)]
    except LedgerRefused as error:
        names = [row.name for row in rows]
        return [{"kind": "any", "names": names, "usd_per_hour": None, "basis": error.what}] if rows else []
    return [
        {
            "kind": each.kind,
            "names": [row.name for row in each.rows],
            "usd_per_hour": None if cost.least is None or cost.most is None else [cost.least, cost.most],
            "basis": cost.basis,
        }
        for each, cost in found
    ]


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
    killed = f"its process was killed: {TITLES.get(run['interrupted'], run['interrupted'])}; the same command goes on"
    return {
        **({"now": _doing_text(run["doing"])} if run["doing"] else {}),
        **({"interrupted": killed} if run["interrupted"] else {}),
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


def _cost_rows(costs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kind that is billed by the hour, one for each other basis, and one for all."""
    from tasks.report.running_cost import BY_USE, FREE

    for each in costs:
        if each["basis"] not in {BY_USE, FREE}:
            yield ", ".join(each["names"]), str(len(each["names"])), _usd(each["usd_per_hour"]), each["basis"]
    for basis in (BY_USE, FREE):
        alike = {each["kind"]: len(each["names"]) for each in costs if each["basis"] == basis}
        if alike:
            yield basis, str(sum(alike.values())), "", ", ".join(f"{count} {kind}" for kind, count in alike.items())
    known = [each["usd_per_hour"] for each in costs if each["usd_per_hour"] is not None]
    unknown = len(costs) - len(known)
    told = f"without {unknown} at an unknown price" if unknown else "at list prices"
    total = _usd([sum(usd[end] for usd in known) for end in (0, 1)])
    yield "all", str(sum(len(each["names"]) for each in costs)), total, told


def _usd(bounds: Sequence[float] | None) -> str:
    from tasks.report.running_cost import HourlyCost

    least, most = bounds or (None, None)
    return HourlyCost(least, most, "").text
