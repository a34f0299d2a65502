"""`kennel train-ec2`: bring up what is missing, stage the data, train on EC2 in this process, print what came of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from kennel import REFERENCE_DATA
from kennel.commands import run as running
from kennel.commands.data_argument import SAMPLE, forget_refused, judge_argument
from kennel.servers import surroundings
from kennel.terminal import console
from kennel.terminal.console import print_json, print_table, say
from tasks.ec2.prices import choose_instances
from tasks.model.backbones import require_backbone
from tasks.run import naming
from tasks.run.errors import DataRefused, SettingsRefused
from tasks.run.settings import Settings

SHORTEST_MINUTES, LONGEST_MINUTES = 10, 240
"""systemd lets nobody log in during the 5 minutes before a shutdown: kept for less, an instance is of no use."""

MOST_INSTANCES = 20
_OF_THE_RUN = ("backbone", "instances", "epochs", "views", "batch_size", "learning_rate", "seed", "finetune", "weights")


def train(
    parameters: Mapping[str, Any], *, data: str | None, run_id: str | None, keep_on_failure: str | None, as_json: bool
) -> int:
    """Train with the flow's parameters and return the exit code.

    Raises:
        SettingsRefused: a parameter is out of bounds, or the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    require_backbone(parameters["backbone"])
    keep_minutes = minutes_of(keep_on_failure)
    _check_machines(parameters["instances"], parameters["instance_type"])
    running.tell_on_interrupt()
    if data is not None:
        judge_argument(data, Settings.load())
    where = surroundings.bring_up(meanwhile=lambda: surroundings.import_flow("flows.train_ec2"))
    say(f"AWS: {where.description}")
    chosen = data or (SAMPLE if where.target == "local" else REFERENCE_DATA)
    name = run_id or naming.training_run_id(chosen, **{key: parameters[key] for key in _OF_THE_RUN})
    console.works_on(where.runs / name)

    from prefect.exceptions import ParameterTypeError

    from tasks.report.parity import STAGE as PARITY
    from tasks.report.parity import Parity
    from tasks.report.rows import ec2_json, ec2_rows
    from tasks.run.records import load_record

    try:
        model = asyncio.run(_stage_and_train(chosen, name, {**parameters, "keep_on_failure_minutes": keep_minutes}))
    except ParameterTypeError as error:
        refused = "kennel train-ec2"
        raise SettingsRefused(refused, "an argument is out of bounds", str(error), f"{refused} --help") from error
    except DataRefused:
        forget_refused(where.runs / name)
        raise
    parity = load_record(where.runs / name, PARITY, Parity)
    if as_json:
        print_json({"run_id": name, **ec2_json(model, parity)})
    else:
        rows = {"run": name, **ec2_rows(model, parity), "model": model.model_uri}
        print_table(f"kennel train-ec2 {name}", rows)
    return 0


def _check_machines(instances: int, instance_type: str | None) -> None:
    """Judge what needs no server: a typing slip should not wait for two to start."""
    if not 1 <= instances <= MOST_INSTANCES:
        why = f"it has to be 1 to {MOST_INSTANCES}"
        raise SettingsRefused("kennel train-ec2", f"--instances {instances}", why, "kennel train-ec2 --instances 2")
    if instance_type is not None:
        choose_instances(finetune=False, requested=instance_type)


def minutes_of(text: str | None) -> int:
    """Return the minutes of "30m" or "2h"; 0 for None.

    Raises:
        SettingsRefused: it is not a number of minutes or hours from 10 minutes to 4 hours.
    """
    if text is None:
        return 0
    match = re.fullmatch(r"(\d{1,4})(m|h)", text)
    minutes = int(match[1]) * (60 if match[2] == "h" else 1) if match else 0
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        why = "it has to be a number of minutes or hours, 10m to 4h"
        raise SettingsRefused("kennel train-ec2", f"--keep-on-failure {text}", why, "--keep-on-failure 30m")
    return minutes


async def _stage_and_train(data: str, run_id: str, parameters: Mapping[str, Any]) -> Any:
    from flows.pipeline import StageClock
    from flows.stage_data import stage_data
    from flows.train_ec2 import train_ec2
    from tasks.run.ledger import run_lock

    clock = StageClock()
    with run_lock(Settings.load().run_dir(run_id)):
        await clock.time("stage_data", stage_data(data, run_id))
        return await clock.time("train_ec2", train_ec2(run_id, **parameters))
