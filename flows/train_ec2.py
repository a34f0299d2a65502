"""Train on EC2 over SSH what train_sagemaker trains on SageMaker: launch, connect, train detached, bring back, end.

prefect deployment run 'train_ec2/train_ec2' -p run_id=dogs-1a2b3c4d -p training='{"instances": 2}'
"""

from __future__ import annotations

from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas.objects import FlowRun

from flows.step import step
from flows.train_sagemaker import stage_weights
from tasks.ec2 import job as ec2_job
from tasks.ec2.prices import choose_instances
from tasks.ec2.run import InstanceOptions, adopt_or_train
from tasks.ec2.terminate import end_instances
from tasks.model.backbones import require_backbone
from tasks.report import parity as comparison
from tasks.run.artifacts import publish_record
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import Ec2TrainingOptions
from tasks.run.records import InstanceModel

STAGE = "train_ec2"

plan_job = step("plan EC2 training")(ec2_job.plan_job)
train = step("EC2 training")(adopt_or_train)
compare_with_sagemaker = step("compare")(comparison.compare_with_sagemaker)


def end_instances_of(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 Prefect's names
    """Terminate the run's instances, for a flow run that was cancelled or died before its own end could."""
    end_instances(Run.load(str(flow_run.parameters["run_id"])))


@flow(name=STAGE, on_cancellation=[end_instances_of], on_crashed=[end_instances_of])
async def train_ec2(run_id: RunId, training: Ec2TrainingOptions = Ec2TrainingOptions()) -> InstanceModel:
    """Train the run's staged dataset on EC2 instances and end them, whatever comes.

    A model that the same command made before is adopted, and so are instances that still work on it. If the run was
    trained on SageMaker too, the two are compared.

    Args:
        run_id: The run whose dataset it is.
        training: The model, and the machines that train it.

    Raises:
        SettingsRefused: the run has no staged dataset.
        LimitReached: no instance could be had of any candidate type.
        StageFailed, RemoteFailed: the training failed, or an instance was not what was launched.
        WaitTimedOut: an instance did not come up, or the training did not end.
        AwsFailed: AWS refused.
    """
    require_backbone(training.backbone)
    run = Run.load(run_id)
    choice = choose_instances(finetune=training.finetune, requested=training.instance_type)
    options = InstanceOptions(choice, training.spot, training.keep_on_failure_minutes)
    with run.lock():
        await stage_weights(run, training)
        job = await plan_job(run, training)
        model = await train(run, job, options)
        run.keep(model)
        await publish_record(STAGE, run_id, model)
        parity = await compare_with_sagemaker(run, model)
        if parity is not None:
            await publish_record(comparison.STAGE, run_id, parity)
    return model
