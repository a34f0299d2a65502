"""`kennel run`: bring up what is missing, run the pipeline in this process, print what came of it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.terminal import console
from kennel.terminal.journey import load_seconds, run_stages
from tasks.load.options import PipelineLoadOptions
from tasks.model.backbones import require_backbone
from tasks.run import naming
from tasks.run.errors import DataRefused, StageFailed
from tasks.run.naming import RunId
from tasks.run.options import DeployOptions, Ec2Instances, Machines, ModelOptions, TrainingOptions

if TYPE_CHECKING:
    from kennel.servers import localaws, surroundings
    from tasks.report.summary import RunSummary

_ENDPOINT = {
    "instances": "endpoint-instances",
    "instance_type": "endpoint-instance-type",
    "allowed_hosts": "allow-host",
}
_LOAD = {"mode": "load-mode", "rate_per_second": "load-rate-per-second", "seconds": "load-seconds"}
_NOT_FLAGS = tuple(name for name in PipelineLoadOptions.model_fields if name not in _LOAD)


@dataclass(frozen=True)
class PipelineOptions:
    """What the flow `pipeline` is called with; `data` None is the sample, on real AWS the reference dataset."""

    training: TrainingOptions
    ec2_instances: int = 0
    deploy: DeployOptions = DeployOptions()
    load_test: bool = True
    load: PipelineLoadOptions = PipelineLoadOptions()
    data: str | None = None
    run_id: str | None = None


def run(
    *,
    data: flags.Data = None,
    model: Annotated[ModelOptions, flags.flags_of(flags.DATA)] = ModelOptions(),
    machines: Annotated[Machines, flags.flags_of(flags.MACHINES)] = Machines(),
    ec2_instances: Annotated[
        Ec2Instances,
        Parameter(group=flags.MACHINES, help="Train on this many EC2 instances over SSH too, and compare; 0 = not."),
    ] = 0,
    deploy: Annotated[DeployOptions, flags.flags_of(flags.MACHINES, names=_ENDPOINT)] = DeployOptions(),
    load_test: Annotated[
        bool, Parameter(name="--loadtest", group=flags.LOAD, help="Load-test what was deployed.")
    ] = True,
    load: Annotated[
        PipelineLoadOptions, flags.flags_of(flags.LOAD, names=_LOAD, without=_NOT_FLAGS)
    ] = PipelineLoadOptions(),
    run_id: Annotated[
        RunId | None, Parameter(help="Default: made from the arguments, so that a repeat adopts.")
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Run the pipeline as the flags say.

    Raises:
        SettingsRefused: the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    stages, expects = run_stages(ec2=ec2_instances > 0, load_test=load_test), load_seconds(load.mode, load.seconds)
    console.begin("kennel run", stages, expects=expects, quiet=quiet, verbose=verbose)
    training = TrainingOptions.of(model.with_resolved_weights(), machines)
    return run_pipeline(PipelineOptions(training, ec2_instances, deploy, load_test, load, data, run_id), as_json=json)


def run_pipeline(chosen: PipelineOptions, *, as_json: bool, aws: localaws.Options | None = None) -> int:
    """Run the pipeline and return the exit code; `aws` says how the embedded AWS is started, None: as it is.

    The table comes also when the load test failed the command: then the error follows it.

    Raises:
        SettingsRefused: the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    from kennel.commands.data_argument import judge_argument
    from kennel.commands.interrupted import tell_on_interrupt
    from kennel.servers import localaws, surroundings
    from tasks.run.settings import Settings

    tell_on_interrupt()
    require_backbone(chosen.training.backbone)  # a typing slip should not wait for two servers to start
    if chosen.data is not None:
        judge_argument(chosen.data, Settings.load())
    where = surroundings.bring_up(lambda: surroundings.import_flow("flows.pipeline"), aws or localaws.AS_IT_IS)
    console.say(f"AWS: {where.description}")
    _import_sdk_early(where.runs)
    data = chosen.data or (SAMPLE if where.target.has_sample else REFERENCE_DATA)
    run_dir = where.runs / (chosen.run_id or naming.training_run_id(data, chosen.training))
    console.works_on(run_dir)
    return _show(run_dir, _run_flow(chosen, data, run_dir), where, as_json=as_json)


def _run_flow(chosen: PipelineOptions, data: str, run_dir: Path) -> StageFailed | None:
    """Run the flow; return the error of a run that is whole but for its load test, whose records are all there."""
    from flows.pipeline import pipeline
    from kennel.commands.data_argument import forget_refused
    from tasks.report.summary import StageTimes
    from tasks.run.handle import RunFolder

    record = RunFolder(run_dir).path(StageTimes)
    before = record.stat().st_mtime_ns if record.exists() else None
    flow = pipeline(
        data=data,
        run_id=chosen.run_id,
        training=chosen.training,
        ec2_instances=chosen.ec2_instances,
        deploy=chosen.deploy,
        load_test=chosen.load_test,
        load=chosen.load,
    )
    try:
        asyncio.run(flow)
    except DataRefused:
        forget_refused(run_dir)
        raise
    except StageFailed as error:
        if not record.exists() or record.stat().st_mtime_ns == before:
            raise
        return error
    return None


def _show(run_dir: Path, refused: StageFailed | None, where: surroundings.Surroundings, *, as_json: bool) -> int:
    """Print what came of it from the run's records; an error goes on after the table, or is part of the JSON."""
    from kennel.commands.outcome import SEE_VERDICTS
    from tasks.report.rows import summary_json
    from tasks.report.summary import summarise
    from tasks.run.handle import RunFolder

    summary = summarise(RunFolder(run_dir))
    if as_json:
        console.print_json(summary_json(summary) | ({} if refused is None else console.error_json(refused)))
        return 0 if refused is None else console.print_error(refused, as_json=False)
    _print(summary, run_dir, where)
    if refused is None:
        return 0
    return console.print_error(refused, as_json=False, why=None if summary.scaling is None else SEE_VERDICTS)


def _print(summary: RunSummary, run_dir: Path, where: surroundings.Surroundings) -> None:
    from kennel.commands.outcome import next_lines, verdict_lines
    from tasks.report.rows import summary_rows

    console.print_table(f"kennel run {summary.run_id}", summary_rows(summary))
    if summary.scaling is not None:
        console.print_lines(verdict_lines(summary.scaling.verdicts))
    if not console.is_quiet():
        console.print_commands(
            next_lines(run_dir, summary.function, where.home, is_local=where.target.runs_on_this_machine)
        )


def _import_sdk_early(runs: Path) -> None:
    """Import the SageMaker SDK (4 s) beside the staging, unless an earlier run here makes it unlikely to be needed."""
    if not any(runs.glob("*/train_sagemaker.json")):
        threading.Thread(target=__import__, args=("sagemaker.train",), daemon=True).start()
