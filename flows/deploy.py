"""Deploy a trained model: roles, endpoint, function with version and alias, and one checked call through the alias.

prefect deployment run 'deploy/deploy' -p run_id=dogs-1a2b3c4d
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.parameters import AllowedHost, InstanceCount, InstanceType, RunId
from tasks.account.images import inference_image
from tasks.account.prices import choose_hosting_instance
from tasks.account.roles import endpoint_role, ensure_log_group, ensure_role, function_role
from tasks.model.code import build_lambda_zip
from tasks.run.artifacts import publish_record
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import Ledger, run_lock
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, TrainedModel, load_record, save_record
from tasks.run.settings import Settings
from tasks.run.waiting import say
from tasks.serving.endpoint import EndpointPlan, endpoint_arn, endpoint_log_group, ensure_endpoint, with_first_seconds
from tasks.serving.function import FunctionPlan, ensure_function, function_log_group, hosts_allowed_by_default
from tasks.serving.smoke import SmokeResult, smoke_test

STAGE = "deploy"


@dataclass(frozen=True)
class Deployment:
    """A live endpoint, the function in front of it, and what the function answered when it was tried."""

    endpoint: EndpointRef
    function: FunctionRef
    smoke: SmokeResult


@flow(name=STAGE)
async def deploy(
    run_id: RunId,
    instances: InstanceCount = 1,
    instance_type: InstanceType | None = None,
    allowed_hosts: tuple[AllowedHost, ...] = (),
) -> Deployment:
    """Bring the run's endpoint and function to its trained model and try them with a photo of the test split.

    `allowed_hosts` are `host:port` that the function may fetch images from although they are not public; none named:
    any port of loopback on the embedded AWS, nothing on real AWS.

    Raises:
        SettingsRefused: the run has no trained model.
        StageFailed: endpoint or function failed, AWS rolled back, or the smoke test's answer is wrong in form.
        WaitTimedOut: endpoint or function did not settle within their deadlines.
        AwsFailed: AWS refused.
    """
    settings = Settings.load()
    aws, run_dir = Aws(settings), settings.run_dir(run_id)
    with run_lock(run_dir):
        endpoint = await deploy_endpoint(aws, run_id, instances, instance_type)
        save_record(run_dir, "endpoint", endpoint)
        function = await deploy_function(aws, run_id, endpoint, allowed_hosts)
        save_record(run_dir, "function", function)
        smoke = await try_function(aws, run_id, function)
        save_record(run_dir, "smoke", smoke)
        deployment = Deployment(endpoint, function, smoke)
        await publish_record(STAGE, run_id, deployment)
    return deployment


@task(name="endpoint", cache_policy=NO_CACHE)
async def deploy_endpoint(aws: Aws, run_id: str, instances: int, instance_type: str | None) -> EndpointRef:
    """Make the endpoint's role, model, configuration and endpoint, or adopt them."""
    return await asyncio.to_thread(_endpoint, aws, run_id, instances, instance_type)


@task(name="function", cache_policy=NO_CACHE)
async def deploy_function(aws: Aws, run_id: str, endpoint: EndpointRef, allowed_hosts: tuple[str, ...]) -> FunctionRef:
    """Make the function's role, code, version and alias, or adopt them."""
    return await asyncio.to_thread(_function, aws, run_id, endpoint, allowed_hosts)


@task(name="smoke test", cache_policy=NO_CACHE)
async def try_function(aws: Aws, run_id: str, function: FunctionRef) -> SmokeResult:
    """Invoke the function once, through its alias, with a photo of the test split."""
    return await asyncio.to_thread(_smoke, aws, run_id, function)


def _endpoint(aws: Aws, run_id: str, instances: int, instance_type: str | None) -> EndpointRef:
    run_dir = aws.settings.run_dir(run_id)
    model = load_record(run_dir, "train_sagemaker", TrainedModel)
    if model is None:
        raise SettingsRefused(STAGE, f"run {run_id}", "it has no trained model", "kennel run, or the training flow")
    ledger = Ledger.open(aws, run_id)
    instance = choose_hosting_instance(instance_type)
    say(f"endpoint: {instances} × {instance.instance_type}: {instance.reason}")
    group = endpoint_log_group(run_id)
    ensure_log_group(aws, ledger, run_id, group)
    role_arn = ensure_role(aws, ledger, run_id, endpoint_role(aws, run_id, model.model_uri, group))
    plan = EndpointPlan(
        run_id=run_id,
        image=inference_image(aws.region, has_gpu=instance.has_gpu),
        model_uri=model.model_uri,
        role_arn=role_arn,
        instance=instance,
        instance_count=instances,
    )
    endpoint = ensure_endpoint(aws, ledger, plan)
    say(f"endpoint {endpoint.name}: in service with {endpoint.config_name}, {endpoint.seconds:.1f} s")
    return with_first_seconds(endpoint, load_record(run_dir, "endpoint", EndpointRef))


def _function(aws: Aws, run_id: str, endpoint: EndpointRef, allowed_hosts: tuple[str, ...]) -> FunctionRef:
    ledger = Ledger.open(aws, run_id)
    group = function_log_group(run_id)
    ensure_log_group(aws, ledger, run_id, group)
    role = function_role(aws, run_id, endpoint_arn(aws, run_id), group)
    role_arn = ensure_role(aws, ledger, run_id, role)
    zip_path = aws.settings.run_dir(run_id) / "classify.zip"
    plan = FunctionPlan(
        run_id=run_id,
        endpoint_name=endpoint.name,
        role_name=role.name,
        role_arn=role_arn,
        zip_path=zip_path,
        zip_sha256=build_lambda_zip(zip_path),
        allowed_hosts=tuple(allowed_hosts) or hosts_allowed_by_default(aws),
    )
    function = ensure_function(aws, ledger, plan)
    say(f"function {function.name}: alias {function.alias} is version {function.version}")
    return function


def _smoke(aws: Aws, run_id: str, function: FunctionRef) -> SmokeResult:
    dataset = load_record(aws.settings.run_dir(run_id), "stage_data", DatasetRef)
    if dataset is None:
        raise SettingsRefused(STAGE, f"run {run_id}", "it has no staged dataset to take a photo from", "kennel run")
    result = smoke_test(aws, function, dataset)
    right = "right" if result.predicted_label == result.true_label else f"it is {result.true_label}"
    say(f"smoke test: {result.predicted_label} ({result.score:.3f}; {right}), {result.latency_ms:.0f} ms")
    return result
