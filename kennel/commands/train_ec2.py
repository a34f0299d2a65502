"""`kennel train-ec2`: bring up what is missing, stage the data, train on EC2 in this process, print what came of it."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.terminal import console
from tasks.model.backbones import require_backbone
from tasks.run import naming
from tasks.run.errors import DataRefused, SettingsRefused
from tasks.run.naming import RunId
from tasks.run.options import Ec2Machines, Ec2TrainingOptions, ModelOptions, TrainingOptions

if TYPE_CHECKING:
    from tasks.run.records import InstanceModel

SHORTEST_MINUTES, LONGEST_MINUTES = 10, 240
"""systemd lets nobody log in during the 5 minutes before a shutdown: kept for less, an instance is of no use."""


def train_ec2(
    *,
    data: flags.Data = None,
    model: Annotated[ModelOptions, flags.flags_of(flags.DATA)] = ModelOptions(),
    machines: Annotated[
        Ec2Machines, flags.flags_of(flags.MACHINES, without=("keep_on_failure_minutes",))
    ] = Ec2Machines(),
    keep_on_failure: Annotated[
        str | None,
        Parameter(group=flags.MACHINES, help="Keep a failed instance so long, 10m to 4h, for a look by ssh."),
    ] = None,
    run_id: Annotated[
        RunId | None, Parameter(help="Default: the run that `kennel run` has for these arguments.")
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Train on EC2 as the flags say and return the exit code.

    Raises:
        SettingsRefused: the backbone or the instance type is unknown, or `keep_on_failure` is no time.
        KennelError: the kind that the failing stage names.
    """
    console.begin("kennel train-ec2", ("servers", "stage_data", "train_ec2"), quiet=quiet, verbose=verbose)
    from kennel.commands.data_argument import forget_refused, judge_argument
    from kennel.commands.interrupted import tell_on_interrupt
    from kennel.servers import surroundings
    from tasks.ec2.prices import choose_instances
    from tasks.run.settings import Settings

    minutes = minutes_of(keep_on_failure)
    training = Ec2TrainingOptions.of(model.with_resolved_weights(), machines, keep_on_failure_minutes=minutes)
    require_backbone(training.backbone)
    choose_instances(finetune=training.finetune, requested=training.instance_type)
    tell_on_interrupt()
    if data is not None:
        judge_argument(data, Settings.load())
    where = surroundings.bring_up(meanwhile=lambda: surroundings.import_flow("flows.train_ec2"))
    console.say(f"AWS: {where.description}")
    chosen = data or (SAMPLE if where.target.has_sample else REFERENCE_DATA)
    name = run_id or naming.training_run_id(chosen, sagemaker_training(training))
    console.works_on(where.runs / name)

    from tasks.report.parity import Parity
    from tasks.report.rows import ec2_json, ec2_rows
    from tasks.run.handle import RunFolder

    try:
        trained = asyncio.run(_stage_and_train(chosen, name, training))
    except DataRefused:
        forget_refused(where.runs / name)
        raise
    parity = RunFolder(where.runs / name).find(Parity)
    if json:
        console.print_json({"run_id": name, **ec2_json(trained, parity)})
    else:
        rows = {"run": name, **ec2_rows(trained, parity), "model": trained.model_uri}
        console.print_table(f"kennel train-ec2 {name}", rows)
    return 0


def sagemaker_training(training: Ec2TrainingOptions) -> TrainingOptions:
    """Return the training on SageMaker that this one is compared with, whose run it belongs to."""
    return TrainingOptions.of(ModelOptions.of(training), instances=training.instances)


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


async def _stage_and_train(data: str, run_id: str, training: Ec2TrainingOptions) -> InstanceModel:
    from flows.pipeline import StageClock
    from flows.stage_data import stage_data
    from flows.train_ec2 import train_ec2 as train
    from tasks.run.handle import Run

    clock = StageClock()
    with Run.load(run_id).lock():
        await clock.time("stage_data", stage_data(data, run_id))
        return await clock.time("train_ec2", train(run_id, training))
