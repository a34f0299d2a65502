"""`kennel train-ec2`: starts the local servers if needed, stages the data, trains on EC2, prints the result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.terminal import console
from tasks.model.backbones import require_backbone
from tasks.model.search import with_search_space
from tasks.model.weights_file import with_weights_file
from tasks.run.errors import SettingsRefused
from tasks.run.naming import RunId
from tasks.run.options import DataOptions, Ec2Machines, Ec2TrainingOptions, ModelOptions, Network, TrainingOptions
from tasks.run.run_id import run_of_training
from tasks.run.source_name import keep_in_memory

if TYPE_CHECKING:
    from tasks.run.records import InstanceModel

SHORTEST_MINUTES, LONGEST_MINUTES = 10, 240
"""systemd allows no login in the 5 minutes before a shutdown, so a shorter time would be of no use."""


def train_ec2(
    *,
    data: flags.Data = None,
    data_options: Annotated[DataOptions, flags.flags_of(flags.DATA)] = DataOptions(),
    model: Annotated[ModelOptions, flags.flags_of(flags.DATA)] = ModelOptions(),
    machines: Annotated[
        Ec2Machines, flags.flags_of(flags.MACHINES, without=("keep_on_failure_minutes",))
    ] = Ec2Machines(),
    keep_on_failure: Annotated[
        str | None,
        Parameter(
            group=flags.MACHINES, help="Keep instances of a failed training running for 10m to 4h, to log in by ssh."
        ),
    ] = None,
    network: Annotated[Network, flags.flags_of(flags.NETWORK, names=flags.NETWORK_NAMES)] = Network(),
    kms_key: flags.KmsKey = None,
    run_id: Annotated[
        RunId | None,
        Parameter(
            help="By default the run of `kennel run` with the same data, model and `--instances`, and without `--spot` "
            "and `--instance-type`."
        ),
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Train on EC2 with the options of the flags, and return the exit code.

    Raises:
        SettingsRefused: the backbone or the instance type is unknown, or `keep_on_failure` is out of bounds.
        KennelError: the kind that the failing stage names.
    """
    console.begin("kennel train-ec2", ("servers", "stage_data", "train_ec2"), quiet=quiet, verbose=verbose)
    from kennel.commands.data_argument import check_data_argument, read_data_argument, refused_run_removed
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from kennel.servers import environment
    from tasks.ec2.prices import choose_instances
    from tasks.run.settings import Settings

    minutes = minutes_of(keep_on_failure)
    environment.use_key(kms_key)
    model = with_search_space(with_weights_file(model))
    training = Ec2TrainingOptions.of(model, machines, keep_on_failure_minutes=minutes)
    require_backbone(training.backbone)
    choose_instances(finetune=training.finetune, requested=training.instance_type)
    handle_interrupts()
    data = read_data_argument(data)
    if data is not None:
        check_data_argument(data, Settings.load(), data_options.class_folder)
    where = environment.start_servers(meanwhile=lambda: environment.import_flow("flows.train_ec2"))
    console.say(f"AWS: {where.description}")
    chosen = data or (SAMPLE if where.target.has_sample else REFERENCE_DATA)
    name = run_id or run_of_training(where.runs, chosen, sagemaker_training(training), data_options)
    console.set_run(where.runs / name)

    with refused_run_removed(where.runs / name):
        trained = run_flow(_stage_and_train(chosen, name, training, network, data_options), where)
    _print(where.runs / name, trained, as_json=json)
    return 0


def _print(run_dir: Path, trained: InstanceModel, *, as_json: bool) -> None:
    """Print what was found in the data, the trained model and its comparison with SageMaker's, if there is one."""
    from tasks.data.report import dataset_json, finding_rows
    from tasks.report.parity import Parity
    from tasks.report.rows import ec2_json, ec2_rows
    from tasks.run.handle import RunFolder
    from tasks.run.records import DatasetRef

    run = RunFolder(run_dir)
    name, parity, data = run.id, run.find(Parity), run.need(DatasetRef)
    if as_json:
        console.print_json({"run_id": name, "data": dataset_json(data), **ec2_json(trained, parity)})
    else:
        rows = {"run": name, **finding_rows(data), **ec2_rows(trained, parity), "model": trained.model_uri}
        console.print_table(f"kennel train-ec2 {name}", rows)


def sagemaker_training(training: Ec2TrainingOptions) -> TrainingOptions:
    """Return the training on SageMaker with which this one is compared, and whose run it belongs to."""
    return TrainingOptions.of(ModelOptions.of(training), instances=training.instances)


def minutes_of(text: str | None) -> int:
    """Return the minutes of "30m" or "2h"; 0 for None.

    Raises:
        SettingsRefused: the text is not a number of minutes or hours, or is not from 10 minutes to 4 hours.
    """
    if text is None:
        return 0
    match = re.fullmatch(r"(\d{1,4})(m|h)", text)
    minutes = int(match[1]) * (60 if match[2] == "h" else 1) if match else 0
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        why = "it has to be a number of minutes or hours, 10m to 4h"
        raise SettingsRefused("kennel train-ec2", f"--keep-on-failure {text}", why, "--keep-on-failure 30m")
    return minutes


async def _stage_and_train(
    data: str, run_id: str, training: Ec2TrainingOptions, network: Network, options: DataOptions
) -> InstanceModel:
    from flows.pipeline import fetch_weights, look_at_account
    from flows.stage_clock import StageClock
    from flows.stage_data import stage_data
    from flows.train_ec2 import train_ec2 as train
    from tasks.doctor.account import RunParts
    from tasks.run.handle import Run

    run, clock = Run.load(run_id), StageClock()
    with run.at_work("stage_data", "train_ec2"):
        await look_at_account(run.settings, RunParts(ec2=training, network=network))
        await fetch_weights(training, run.settings)
        await clock.time("stage_data", stage_data(keep_in_memory(data), run_id, options))
        return await clock.time("train_ec2", train(run_id, training, network))
