"""`kennel status` and `kennel logs`: show the local servers, each run's stages and resources, and a run's logs."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from kennel.servers import environment, localaws, localaws_record, prefect, processes
from kennel.terminal.console import print_json, print_log_line, print_table, say
from tasks.run.command_line import path_argument
from tasks.run.errors import LedgerRefused, SettingsRefused
from tasks.run.ledger_contents import LedgerHeader, LedgerRow, damaged, has_lost_its_ledger, inspect_ledger, run_folders
from tasks.run.logical_aws import LogicalAws, is_lost
from tasks.run.sealed import read_regular
from tasks.run.source_name import source_name

STAGES = ("stage_data", "train_sagemaker", "train_ec2", "deploy", "loadtest", "pipeline")
_RECORDS_OF = {"deploy": ("function",), "loadtest": ("loadtest", "scaling")}
FOLLOW_SECONDS = 1.0
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


def logs(run_id: str | None, source: str, *, follow: bool) -> int:
    """Print the log of a run's training job, EC2 instances, endpoint or function; with `follow`, until Ctrl-C.

    Raises:
        SettingsRefused: there is no such run, or no AWS is named and the embedded AWS does not run.
        AwsFailed: CloudWatch Logs refused.
    """
    _, runs = environment.home_and_runs()
    run_dir = run_dir_of(runs, run_id) if run_id else latest_run(runs)
    if source == "ec2":
        return _print_files(run_dir, follow=follow)
    if environment.connect_to_running() is None:
        see = f"less {path_argument(run_dir / 'kennel.log')}"
        raise SettingsRefused("logs", "localaws does not run", "its logs ended with it", see)
    from tasks.account.logs import LogFollower
    from tasks.account.role_policies import TRAINING_LOG_GROUP
    from tasks.run.aws import Aws
    from tasks.run.naming import name_prefix
    from tasks.run.settings import Settings
    from tasks.serving.endpoint import endpoint_log_group
    from tasks.serving.function import function_log_group

    aws, name = Aws(Settings.load()), run_dir.name
    groups = {
        "training": LogFollower(aws, TRAINING_LOG_GROUP, f"{name_prefix(name)}train-"),
        "endpoint": LogFollower(aws, endpoint_log_group(name)),
        "function": LogFollower(aws, function_log_group(name)),
    }
    follower = groups[source]
    if not follow:
        lines = list(follower.poll())
        for line in lines:
            print_log_line(str(line))
        if not lines:
            say(f"run {name} has no log lines of its {source}; try --source training | ec2 | endpoint | function")
        return 0
    while True:
        for line in follower.poll():
            print_log_line(str(line))
        time.sleep(FOLLOW_SECONDS)


def _print_files(run_dir: Path, *, follow: bool) -> int:
    """Print the logs of the EC2 instances from their copies on this machine: they do not write to CloudWatch Logs."""
    printed: dict[Path, int] = {}
    while True:
        for path in sorted((run_dir / "ec2").glob("i-*.log")):
            lines = read_regular(path).decode(errors="replace").splitlines()
            for line in lines[printed.get(path, 0) :]:
                print_log_line(f"{path.stem} | {line}")
            printed[path] = len(lines)
        if not follow:
            return 0
        time.sleep(FOLLOW_SECONDS)


def all_runs(runs: Path) -> list[Path]:
    """Return the directories of runs, oldest first."""
    return sorted(run_folders(runs), key=_age)


def _age(run_dir: Path) -> float:
    """Return the time of the last change of a run's ledger, or of its folder if that was lost."""
    for path in (run_dir / "ledger.jsonl", run_dir):
        with suppress(OSError):
            return path.lstat().st_mtime
    return 0.0


def run_dir_of(runs: Path, run_id: str) -> Path:
    """Return the directory of a run.

    Raises:
        SettingsRefused: there is no such run; the error lists the known ones.
    """
    run_dir = runs / run_id
    if run_dir not in run_folders(runs):
        known = ", ".join(path.name for path in all_runs(runs)) or "none"
        raise SettingsRefused(
            "runs", f"run {run_id}", f"there is no such run under {runs}; known: {known}", "kennel status"
        )
    return run_dir


def describe_run(run_dir: Path, present: LogicalAws | None) -> dict[str, Any]:
    """Return a run's finished stages, the resources that exist according to its ledger, and its report.

    `present` is the embedded AWS that runs for this home. "lost" are the resources of one that has ended, and "fault"
    is the damage of the ledger, or None; its undamaged rows are shown.
    """
    header, rows, fault = _read(run_dir)
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
    live = ", ".join(f"{row['kind']} {row['name']}" for row in run["live"])
    lost = f"none: all {len(run['lost'])} were lost with the embedded AWS, which has ended" if run["lost"] else "none"
    return {
        "AWS": f"{run['endpoint']}, account {run['account_id']}" if run["endpoint"] else "unknown",
        "stages done": ", ".join(run["stages"]) or "none",
        "resources": live or lost,
        **({"ledger": run["fault"]} if run["fault"] else {}),
        "report": run["report"] or "none yet",
    }


def latest_run(runs: Path) -> Path:
    found = all_runs(runs)
    if not found:
        raise SettingsRefused("runs", str(runs), "there is no run yet", "kennel run")
    return found[-1]
