"""`kennel tune`: starts the local servers if needed, stages the data, searches, prints the trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from kennel import REFERENCE_DATA, SAMPLE, flags
from kennel.commands.pipeline_options import InNetwork, Model, PipelineOptions, Staged, TrainedOn
from kennel.terminal import console
from tasks.model.backbones import require_backbone
from tasks.model.search import require_search, with_search_space, with_trials, without_search
from tasks.model.weights_file import with_weights_file
from tasks.run.naming import RunId
from tasks.run.options import DataOptions, Machines, ModelOptions, Network, TrainingOptions
from tasks.run.source_name import keep_in_memory

if TYPE_CHECKING:
    from tasks.run.records import TrainedModel


def tune(
    *,
    data: flags.Data = None,
    data_options: Staged = DataOptions(),
    model: Model = ModelOptions(),
    machines: TrainedOn = Machines(),
    network: InNetwork = Network(),
    kms_key: flags.KmsKey = None,
    run_id: Annotated[
        RunId | None, Parameter(help="By default the run of `kennel run` with the same data, options and `--trials`.")
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Search with the options of the flags, and return the exit code.

    Raises:
        SettingsRefused: the backbone or the search space is none.
        KennelError: the kind that the failing stage names.
    """
    console.begin("kennel tune", ("servers", "stage_data", "train_sagemaker"), quiet=quiet, verbose=verbose)
    from kennel.commands.data_argument import check_data_argument, read_data_argument, refused_run_removed
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from kennel.commands.run import import_sdk_early
    from kennel.servers import environment
    from tasks.run.settings import Settings

    environment.use_key(kms_key)
    training = with_trials(TrainingOptions.of(with_weights_file(model), machines))
    training = with_search_space(training)
    require_search(training)
    chosen = PipelineOptions(training, run_id=run_id, network=network, kms_key=kms_key, data_options=data_options)
    require_backbone(training.backbone)
    handle_interrupts()
    named = read_data_argument(data)
    if named is not None:
        check_data_argument(named, Settings.load(), data_options.class_folder)
    where = environment.start_servers(meanwhile=lambda: environment.import_flow("flows.tune"))
    console.say(f"AWS: {where.description}")
    import_sdk_early(where.runs)
    data = named or (SAMPLE if where.target.has_sample else REFERENCE_DATA)
    run_dir = where.runs / chosen.id_for(data, where.runs)
    console.set_run(run_dir)
    from flows.tune import tune as search

    with refused_run_removed(run_dir):
        trained = run_flow(search(keep_in_memory(data), run_dir.name, training, network, data_options), where)
    _print(run_dir, trained, chosen, data, as_json=json)
    return 0


def _print(run_dir: Path, trained: TrainedModel, chosen: PipelineOptions, data: str, *, as_json: bool) -> None:
    """Print the trials, the winner, and the commands that go on with it."""
    from tasks.report.rows import tuning_json, tuning_rows
    from tasks.report.summary import summarise
    from tasks.run.handle import RunFolder

    summary = summarise(RunFolder(run_dir))
    lines = _next_lines(chosen, trained, data)
    if as_json:
        console.print_json({**tuning_json(summary), "commands": lines})
        return
    console.print_table(f"kennel tune {summary.run_id}", tuning_rows(summary))
    if not console.is_quiet():
        console.print_commands([text for title, line in lines.items() for text in (f"{TITLES[title]}:", f"  {line}")])


TITLES = {
    "adopt": "Deploy and load-test this model, which adopts the training",
    "retrain": "Train with the winner's values, without a search",
}


def _next_lines(chosen: PipelineOptions, trained: TrainedModel, data: str) -> dict[str, Any]:
    from dataclasses import replace

    from kennel.commands.run_line import run_line

    assert trained.search is not None
    lines = {"adopt": run_line(chosen, data)}
    training = without_search(chosen.training, trained.search.best.parameters)
    if training is not None:
        lines["retrain"] = run_line(replace(chosen, training=training, run_id=None), data)
    return lines
