"""Trains the model of `train_sagemaker` on EC2 over SSH: launch, connect, train, download the model, terminate.

prefect deployment run 'train_ec2/train_ec2' -p run_id=dogs-1a2b3c4d -p training='{"instances": 2}'
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas.objects import FlowRun

from flows.harmless import harmless_errors
from flows.run_name import named, named_run
from flows.step import step
from flows.train_sagemaker import evaluate, look_at_network, stage_weights
from tasks.ec2 import job as ec2_job
from tasks.ec2.guard import guarded
from tasks.ec2.prices import candidate_types, choose_instances
from tasks.ec2.run import InstanceOptions, adopt_or_train
from tasks.ec2.terminate import end_instances
from tasks.evaluation.record import EC2
from tasks.model.archive import archive_here
from tasks.model.backbones import require_backbone
from tasks.model.search import require_search_space
from tasks.report import parity as comparison
from tasks.run.artifacts import publish_record
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import Ec2TrainingOptions, Network
from tasks.run.records import InstanceModel
from tasks.teardown.rebuild import working_on

STAGE = "train_ec2"

plan_job = step("plan EC2 training")(ec2_job.plan_job)
train = step("EC2 training")(adopt_or_train)
compare_with_sagemaker = step("compare")(comparison.compare_with_sagemaker)


def end_instances_of(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 Prefect's names
    """Terminate the run's instances when a flow run was cancelled or crashed before it could do that itself.

    Raises:
        TeardownIncomplete: an instance could not be terminated.
        AwsFailed: EC2 refused.
    """
    end_instances(Run.load(str(flow_run.parameters["run_id"])))


@flow(
    name=STAGE, flow_run_name=named(STAGE, named_run), on_cancellation=[end_instances_of], on_crashed=[end_instances_of]
)
@harmless_errors
async def train_ec2(
    run_id: RunId, training: Ec2TrainingOptions = Ec2TrainingOptions(), network: Network = Network()
) -> InstanceModel:
    """Train the run's staged dataset on EC2 instances, and terminate them even when the training fails.

    The model of an earlier identical command is adopted, and so are instances that still train it. If the run was
    trained on SageMaker too, the two models are compared.

    Args:
        run_id: The run whose dataset is trained on.
        training: The model, and the machines that train it.
        network: The subnets that the machines are in, and security groups besides the run's own; else the default VPC.

    Raises:
        SettingsRefused: the run has no staged dataset, or the network is not fit.
        NotFound: there is no default VPC, and no subnet was named.
        DownloadFailed: the weights are not here and cannot be fetched.
        LimitReached: EC2 has no instance of any candidate type.
        StageFailed: the training failed, or was interrupted too often.
        RemoteFailed: something went wrong on an instance or on the way to it.
        WaitTimedOut: an instance did not come up, or the training did not end in time.
        AwsFailed: AWS refused.
    """
    require_backbone(training.backbone)
    require_search_space(training.search_space, training.trials)
    run = Run.load(run_id)
    choice = choose_instances(finetune=training.finetune, requested=training.instance_type)
    options = InstanceOptions(choice, training.spot, training.keep_on_failure_minutes, network)
    with working_on(run, STAGE):
        await look_at_network(run.aws, network, ec2_types=candidate_types(training), uses_sagemaker=False)
        await stage_weights(run, training)
        job = await plan_job(run, training)
        with guarded(run):
            model = await train(run, job, options)
        run.keep(model)
        await publish_record(STAGE, run_id, model)
        await evaluate(run, EC2, model, archive_here(Path(model.archive), model.model_sha256))
        parity = await compare_with_sagemaker(run, model)
        if parity is not None:
            await publish_record(comparison.STAGE, run_id, parity)
    return model
