"""Trains on SageMaker: package the code, create the role, create or adopt the job, follow it, register its model.

prefect deployment run 'train_sagemaker/train_sagemaker' -p run_id=dogs-1a2b3c4d -p training='{"instances": 2}'
"""

from __future__ import annotations

from dataclasses import replace

from prefect import flow

from flows.harmless import harmless_errors
from flows.run_name import named, named_run
from flows.step import step
from tasks.account.container_images import require_images
from tasks.account.encryption import require_key
from tasks.account.network import require_network
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.record import SAGEMAKER
from tasks.model import weights
from tasks.model.backbones import require_backbone
from tasks.model.search import require_search
from tasks.registry.register import register_model
from tasks.report.search import search_markdown
from tasks.report.search_study import study_search
from tasks.run.artifacts import publish_markdown, publish_record
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import Network, TrainingOptions
from tasks.run.records import TrainedModel
from tasks.run.training_choice import TrainingChoice
from tasks.sagemaker import training as sagemaker
from tasks.sagemaker.download import MODEL_FILE
from tasks.sagemaker.tuning import search_on_sagemaker
from tasks.teardown.rebuild import working_on

STAGE = "train_sagemaker"
SEARCH = "search"

look_at_network = step("network")(require_network)
look_at_key = step("key")(require_key)
stage_weights = step("weights")(weights.stage_weights)
plan_training = step("plan training")(sagemaker.plan_training)
search = step("search by SageMaker")(search_on_sagemaker)
run_training = step("training job")(sagemaker.train_on_sagemaker)
study = step("study the search")(study_search)
evaluate = step("evaluate")(evaluate_model)
register = step("register")(register_model)


@flow(name=STAGE, flow_run_name=named(STAGE, named_run))
@harmless_errors
async def train_sagemaker(
    run_id: RunId, training: TrainingOptions = TrainingOptions(), network: Network = Network()
) -> TrainedModel:
    """Train the run's staged dataset; the job of an earlier identical command is adopted.

    The backbone's ImageNet weights are used if no others are named; kennel fetches what is not in its home.

    Args:
        run_id: The run whose dataset is trained on.
        training: The model, and the machines that train it.
        network: The VPC that the machines are in, if it is yours.

    Raises:
        SettingsRefused: the run has no staged dataset, AWS has no images in this region, or the network is not fit.
        DownloadFailed: the weights are not here and cannot be fetched.
        StageFailed: the job failed or was stopped, or its result does not agree with it.
        WaitTimedOut: the job did not end within its limits.
        AwsFailed: AWS refused.
    """
    require_backbone(training.backbone)
    require_search(training)
    run = Run.load(run_id)
    require_images(run.settings)
    with working_on(run, STAGE):
        await look_at_network(run.aws, network)
        await stage_weights(run, training)
        plan = await plan_training(run, training, network)
        searched = await search(run, plan, training) if training.search == "sagemaker" else None
        model = await run_training(run, plan if searched is None else searched.plan)
        if searched is not None:
            model = replace(model, search=searched.search, search_billable_seconds=searched.billable_seconds)
        run.keep(model)
        run.keep(TrainingChoice.of(training))
        await publish_record(STAGE, run_id, model)
        await evaluate(run, SAGEMAKER, model, run.folder / MODEL_FILE)
        await register(run)
        if model.search is not None:
            told = search_markdown(model, await study(run, model, model.search))
            await publish_markdown(SEARCH, run_id, "\n".join(told), folder=run.folder)
    return model
