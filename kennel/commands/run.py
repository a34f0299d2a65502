"""`kennel run`: starts the local servers if needed, runs the flow `pipeline` in this process, prints its result."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.terminal import console
from kennel.terminal.stages import load_seconds, run_stages
from tasks.load.options import PipelineLoadOptions
from tasks.model.backbones import require_backbone
from tasks.model.search import with_search_space
from tasks.run import naming
from tasks.run.errors import StageFailed
from tasks.run.naming import RunId
from tasks.run.options import DeployOptions, Ec2Instances, Machines, ModelOptions, Network, TrainingOptions
from tasks.run.source_name import keep_in_memory

if TYPE_CHECKING:
    from kennel.servers import environment, localaws
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
    """The parameters of the flow `pipeline`; `data` None is the sample, on real AWS the reference dataset."""

    training: TrainingOptions
    ec2_instances: int = 0
    deploy: DeployOptions = DeployOptions()
    load_test: bool = True
    load: PipelineLoadOptions = PipelineLoadOptions()
    data: str | None = None
    run_id: str | None = None
    network: Network = Network()


def run(
    *,
    data: flags.Data = None,
    model: Annotated[ModelOptions, flags.flags_of(flags.DATA)] = ModelOptions(),
    machines: Annotated[Machines, flags.flags_of(flags.MACHINES)] = Machines(),
    ec2_instances: Annotated[
        Ec2Instances,
        Parameter(group=flags.MACHINES, help="Also train on this many EC2 instances over SSH, and compare."),
    ] = 0,
    deploy: Annotated[DeployOptions, flags.flags_of(flags.MACHINES, names=_ENDPOINT)] = DeployOptions(),
    network: Annotated[Network, flags.flags_of(flags.NETWORK, names=flags.NETWORK_NAMES)] = Network(),
    load_test: Annotated[bool, Parameter(name="--loadtest", group=flags.LOAD, help="Load-test the deployment.")] = True,
    load: Annotated[
        PipelineLoadOptions, flags.flags_of(flags.LOAD, names=_LOAD, without=_NOT_FLAGS)
    ] = PipelineLoadOptions(),
    run_id: Annotated[
        RunId | None, Parameter(help="By default derived from the arguments, so that a repeated command adopts.")
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Run the pipeline with the options of the flags, and return the exit code.

    Raises:
        SettingsRefused: the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    stages, expects = run_stages(ec2=ec2_instances > 0, load_test=load_test), load_seconds(load.mode, load.seconds)
    console.begin("kennel run", stages, expects=expects, quiet=quiet, verbose=verbose)
    training = TrainingOptions.of(with_search_space(model.with_resolved_weights()), machines)
    chosen = PipelineOptions(training, ec2_instances, deploy, load_test, load, data, run_id, network)
    return run_pipeline(chosen, as_json=json)


def run_pipeline(chosen: PipelineOptions, *, as_json: bool, aws: localaws.Options | None = None) -> int:
    """Run the pipeline and return the exit code; `aws` are the options that the embedded AWS is started with.

    The table is printed also when only the load test failed; the error follows it then.

    Raises:
        SettingsRefused: the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    from kennel.commands.data_argument import check_data_argument, read_data_argument
    from kennel.commands.interrupted import handle_interrupts
    from kennel.servers import environment, localaws
    from tasks.run.settings import Settings

    handle_interrupts()
    require_backbone(chosen.training.backbone)  # a misspelt name is reported before two servers are started
    named = read_data_argument(chosen.data)
    if named is not None:
        check_data_argument(named, Settings.load())
    where = environment.start_servers(lambda: environment.import_flow("flows.pipeline"), aws or localaws.UNCHANGED)
    console.say(f"AWS: {where.description}")
    _import_sdk_early(where.runs)
    data = named or (SAMPLE if where.target.has_sample else REFERENCE_DATA)
    run_dir = where.runs / (chosen.run_id or naming.training_run_id(data, chosen.training))
    console.set_run(run_dir)
    return _show(run_dir, _run_flow(chosen, data, run_dir, where), where, as_json=as_json)


def _run_flow(chosen: PipelineOptions, data: str, run_dir: Path, where: environment.Environment) -> StageFailed | None:
    """Run the flow; return the error of a run in which only the load test failed and all records were written."""
    from flows.pipeline import pipeline
    from kennel.commands.data_argument import refused_run_removed
    from kennel.commands.flow_run import run_flow
    from tasks.report.summary import StageTimes
    from tasks.run.handle import RunFolder

    record = RunFolder(run_dir).path(StageTimes)
    before = record.stat().st_mtime_ns if record.exists() else None
    flow = pipeline(
        data=keep_in_memory(data),  # Prefect stores the parameters of a flow
        run_id=run_dir.name,
        training=chosen.training,
        ec2_instances=chosen.ec2_instances,
        deploy=chosen.deploy,
        load_test=chosen.load_test,
        load=chosen.load,
        network=chosen.network,
    )
    try:
        with refused_run_removed(run_dir):
            run_flow(flow, where)
    except StageFailed as error:
        if not record.exists() or record.stat().st_mtime_ns == before:
            raise
        return error
    return None


def _show(run_dir: Path, refused: StageFailed | None, where: environment.Environment, *, as_json: bool) -> int:
    """Print the result from the run's records; an error follows the table, or is a part of the JSON."""
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


def _print(summary: RunSummary, run_dir: Path, where: environment.Environment) -> None:
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
    """Import the SageMaker SDK (4 s) in a thread during the staging, unless an earlier training may be adopted."""
    if not any(runs.glob("*/train_sagemaker.json")):
        threading.Thread(target=__import__, args=("sagemaker.train",), daemon=True).start()
