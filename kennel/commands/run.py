"""`kennel run`: starts the local servers if needed, runs the flow `pipeline` in this process, prints its result."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.commands.pipeline_options import (
    Deploy,
    InNetwork,
    Load,
    LoadTest,
    Model,
    Named,
    OnEc2,
    PipelineOptions,
    Staged,
    StagedOn,
    TrainedOn,
    training_of,
)
from kennel.terminal import console
from kennel.terminal.stages import load_seconds, run_stages
from tasks.load.options import PipelineLoadOptions
from tasks.model.backbones import require_backbone
from tasks.run.errors import StageFailed
from tasks.run.options import DataOptions, DeployOptions, Machines, ModelOptions, Network, StagingOptions
from tasks.run.source_name import keep_in_memory

if TYPE_CHECKING:
    from kennel.servers import environment, localaws
    from tasks.report.summary import RunSummary


def run(
    *,
    data: flags.Data = None,
    data_options: Staged = DataOptions(),
    staging: StagedOn = StagingOptions(),
    model: Model = ModelOptions(),
    machines: TrainedOn = Machines(),
    ec2_instances: OnEc2 = 0,
    deploy: Deploy = DeployOptions(),
    network: InNetwork = Network(),
    kms_key: flags.KmsKey = None,
    load_test: LoadTest = True,
    load: Load = PipelineLoadOptions(),
    run_id: Named = None,
    budget: flags.Budget = None,
    ttl: flags.TimeToLive = None,
    budget_alarm: flags.BudgetAlarm = None,
    plan: Annotated[
        bool, Parameter(group=flags.COSTS, negative="", help="Only show what would be made and cost, as `kennel plan`.")
    ] = False,
    yes: Annotated[
        bool, Parameter(group=flags.COSTS, negative="", help="On real AWS: make it without asking for the costs.")
    ] = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Run the pipeline with the options of the flags, and return the exit code.

    Raises:
        SettingsRefused: the backbone is unknown.
        SpendingRefused: the costs were not agreed to, or are above the budget; or a public URL was not confirmed.
        KennelError: the kind that the failing stage names.
    """
    stages, expects = run_stages(ec2=ec2_instances > 0, load_test=load_test), load_seconds(load.mode, load.seconds)
    begin = partial(console.begin, "kennel run", stages, expects=expects, quiet=quiet, verbose=verbose)
    if not plan:
        begin()
    from kennel.commands.data_argument import read_data_argument
    from kennel.commands.plan import agree_to_costs, agree_to_public_url, hours_of, show_plan

    training = training_of(model, machines)
    confirmed = deploy if plan else agree_to_public_url(deploy)
    chosen = PipelineOptions(
        training,
        ec2_instances,
        confirmed,
        load_test,
        load,
        read_data_argument(data),
        run_id,
        budget,
        hours_of(ttl),
        budget_alarm,
        network,
        kms_key,
        data_options,
        staging,
    )
    if plan:
        return show_plan(chosen, as_json=json)
    if agree_to_costs(chosen, yes=yes) or confirmed is not deploy:
        begin()  # the plan and the question took the place of the view
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
    environment.use_key(chosen.kms_key)
    require_backbone(chosen.training.backbone)  # a misspelt name is reported before two servers are started
    named = read_data_argument(chosen.data)
    if named is not None:
        check_data_argument(named, Settings.load(), chosen.data_options.class_folder)
    where = environment.start_servers(lambda: environment.import_flow("flows.pipeline"), aws or localaws.UNCHANGED)
    console.say(f"AWS: {where.description}")
    import_sdk_early(where.runs)
    data = named or (SAMPLE if where.target.has_sample else REFERENCE_DATA)
    run_dir = where.runs / chosen.id_for(data, where.runs)
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
        budget_usd=chosen.budget_usd,
        ttl_hours=chosen.ttl_hours,
        budget_alarm=chosen.budget_alarm,
        data_options=chosen.data_options,
        staging=chosen.staging,
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


def import_sdk_early(runs: Path) -> None:
    """Import the SageMaker SDK (4 s) in a thread during the staging, unless an earlier training may be adopted."""
    if not any(runs.glob("*/train_sagemaker.json")):
        threading.Thread(target=__import__, args=("sagemaker.train",), daemon=True).start()
