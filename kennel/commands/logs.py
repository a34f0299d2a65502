"""`kennel logs`: prints the log of a run's staging or training job, EC2 instances, endpoint or function."""

from __future__ import annotations

import time
from pathlib import Path

from kennel.commands.known_runs import latest_run, run_dir_of
from kennel.servers import environment
from kennel.terminal.console import print_log_line, say
from tasks.run.command_line import path_argument
from tasks.run.errors import SettingsRefused
from tasks.run.sealed import read_regular

FOLLOW_SECONDS = 1.0


def logs(run_id: str | None, source: str, *, follow: bool) -> int:
    """Print the log of a run's jobs, EC2 instances, endpoint or function; with `follow`, until Ctrl-C.

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
    from tasks.account.role_policies import PROCESSING_LOG_GROUP, TRAINING_LOG_GROUP
    from tasks.run.aws import Aws
    from tasks.run.naming import name_prefix
    from tasks.run.settings import Settings
    from tasks.serving.endpoint_plan import endpoint_log_group
    from tasks.serving.function import function_log_group

    aws, name = Aws(Settings.load()), run_dir.name
    groups = {
        "staging": LogFollower(aws, PROCESSING_LOG_GROUP, f"{name_prefix(name)}stage-"),
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
            others = "staging | training | ec2 | endpoint | function"
            say(f"run {name} has no log lines of its {source}; try --source {others}")
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
