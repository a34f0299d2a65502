"""`kennel status` and `kennel logs`: show the local servers, each run's stages and resources, and a run's logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kennel.servers import environment, localaws, prefect, processes
from kennel.terminal.console import print_json, print_log_line, print_table, say
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import read_ledger

STAGES = ("stage_data", "train_sagemaker", "train_ec2", "deploy", "loadtest", "pipeline")
_RECORDS_OF = {"deploy": ("function",), "loadtest": ("loadtest", "scaling")}
FOLLOW_SECONDS = 1.0


def status(run_id: str | None, *, as_json: bool) -> int:
    """Print the local servers, and the stages and existing resources of each run or of the one named.

    Raises:
        SettingsRefused: there is no such run.
        LedgerRefused: a ledger cannot be read.
    """
    home, runs = environment.home_and_runs()
    environment.say_home(home)
    services = _services(home)
    chosen = [describe_run(run_dir_of(runs, run_id))] if run_id else [describe_run(path) for path in all_runs(runs)]
    if as_json:
        print_json({"services": services, "runs": chosen})
        return 0
    print_table("services", {name: url or "not running" for name, url in services.items()})
    for run in chosen:
        print_table(f"run {run['run_id']}", _rows(run))
    if not chosen:
        say(f"there are no runs under {runs}")
    return 0


def logs(run_id: str | None, source: str, *, follow: bool) -> int:
    """Print the log of a run's training job, EC2 instances, endpoint or function; with `follow`, until Ctrl-C.

    Raises:
        SettingsRefused: there is no such run, or no AWS is named and the embedded AWS does not run.
        AwsFailed: CloudWatch Logs refused.
    """
    _, runs = environment.home_and_runs()
    run_dir = run_dir_of(runs, run_id) if run_id else _latest(runs)
    if source == "ec2":
        return _print_files(run_dir, follow=follow)
    if environment.connect_to_running() is None:
        raise SettingsRefused("logs", "localaws does not run", "its logs ended with it", f"less {run_dir}/kennel.log")
    from tasks.account.logs import LogFollower
    from tasks.account.roles import TRAINING_LOG_GROUP
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
            lines = path.read_text(errors="replace").splitlines()
            for line in lines[printed.get(path, 0) :]:
                print_log_line(f"{path.stem} | {line}")
            printed[path] = len(lines)
        if not follow:
            return 0
        time.sleep(FOLLOW_SECONDS)


def all_runs(runs: Path) -> list[Path]:
    """Return the directories of runs, oldest first."""
    found = [path.parent for path in runs.glob("*/ledger.jsonl")]
    return sorted(found, key=lambda path: (path / "ledger.jsonl").stat().st_mtime)


def run_dir_of(runs: Path, run_id: str) -> Path:
    """Return the directory of a run.

    Raises:
        SettingsRefused: there is no such run; the error lists the known ones.
    """
    run_dir = runs / run_id
    if not (run_dir / "ledger.jsonl").exists():
        known = ", ".join(path.name for path in all_runs(runs)) or "none"
        raise SettingsRefused(
            "runs", f"run {run_id}", f"there is no such run under {runs}; known: {known}", "kennel status"
        )
    return run_dir


def describe_run(run_dir: Path) -> dict[str, Any]:
    """Return a run's finished stages, the resources that exist according to its ledger, and its report.

    Raises:
        LedgerRefused: the ledger cannot be read.
    """
    header, rows = read_ledger(run_dir)
    report = run_dir / "report.md"
    return {
        "run_id": run_dir.name,
        "endpoint": header.endpoint if header else None,
        "account_id": header.account_id if header else None,
        "stages": [stage for stage in STAGES if _is_done(run_dir, stage)],
        "live": [{"kind": row.kind, "name": row.name, "state": row.state} for row in rows if row.state != "removed"],
        "report": str(report) if report.exists() else None,
    }


def _is_done(run_dir: Path, stage: str) -> bool:
    return any((run_dir / f"{record}.json").exists() for record in _RECORDS_OF.get(stage, (stage,)))


def _services(home: Path) -> dict[str, str | None]:
    aws, server = localaws.find(home), processes.find(home, prefect.NAME)
    return {"localaws": aws.url if aws else None, "prefect": server.url if server else None}


def _rows(run: dict[str, Any]) -> dict[str, str]:
    live = ", ".join(f"{row['kind']} {row['name']}" for row in run["live"])
    return {
        "AWS": f"{run['endpoint']}, account {run['account_id']}",
        "stages done": ", ".join(run["stages"]) or "none",
        "resources": live or "none",
        "report": run["report"] or "none yet",
    }


def _latest(runs: Path) -> Path:
    found = all_runs(runs)
    if not found:
        raise SettingsRefused("runs", str(runs), "there is no run yet", "kennel run")
    return found[-1]
