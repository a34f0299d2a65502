"""Searches for hyperparameters, and nothing more: stage the data, search, and train the winner.

prefect deployment run 'tune/tune' -p data=photos.zip -p training='{"trials": 20}'
"""

from __future__ import annotations

from prefect import flow

from flows.harmless import harmless_errors
from flows.pipeline import fetch_weights, look_at_account
from flows.run_name import SAMPLE, Parameters, named, trained_run
from flows.stage_clock import StageClock
from flows.stage_data import stage_data
from flows.train_sagemaker import train_sagemaker
from tasks.account.container_images import require_images
from tasks.doctor.account import RunParts
from tasks.model.backbones import require_backbone
from tasks.model.search import require_search, with_trials
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import DataOptions, Network, TrainingOptions
from tasks.run.records import TrainedModel
from tasks.run.run_id import run_of_training
from tasks.run.settings import Settings
from tasks.run.source_name import keep_in_memory

STAGE = "tune"


def searched_run(given: Parameters) -> str:
    """Return the run of a flow that searches: the one named, or that of its data and training."""
    training = TrainingOptions.model_validate(given.get("training") or {})
    return trained_run({**given, "training": with_trials(training)})


@flow(name=STAGE, flow_run_name=named(STAGE, searched_run))
@harmless_errors
async def tune(
    data: str = SAMPLE,
    run_id: RunId | None = None,
    training: TrainingOptions = TrainingOptions(),
    network: Network = Network(),
    data_options: DataOptions = DataOptions(),
) -> TrainedModel:
    """Search for hyperparameters and train the winner's model; nothing is deployed.

    The flow `pipeline` with the same data and training adopts what was trained.

    Args:
        data: A URL, an archive, a folder, s3://BUCKET/PREFIX/, or `sample`.
        run_id: By default derived from data and training, so that a repeated command adopts what exists.
        training: The search and the machines; 20 trials if it names no number.
        network: The subnets and security groups of a VPC of yours.
        data_options: How photos are distributed that have no split, and what becomes of a photo in two splits.

    Raises:
        SettingsRefused: the backbone or the search space is none.
        KennelError: the kind that the failing stage names.
    """
    training = with_trials(training)
    require_backbone(training.backbone)
    require_search(training)
    chosen = run_id or run_of_training(Settings.load().runs, data, training, data_options)
    run, clock = Run.load(chosen), StageClock()
    require_images(run.settings)
    with run.at_work("stage_data", "train_sagemaker"):
        await look_at_account(run.settings, RunParts(training, network=network))
        await fetch_weights(training, run.settings)
        await clock.time("stage_data", stage_data(keep_in_memory(data), chosen, data_options))
        return await clock.time("train_sagemaker", train_sagemaker(chosen, training, network))
