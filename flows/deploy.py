"""Deploy a trained model: roles, endpoint, function with version and alias, and one checked call through the alias.

prefect deployment run 'deploy/deploy' -p run_id=dogs-1a2b3c4d -p deploy='{"instances": 2}'
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from tasks.account.images import inference_image
from tasks.account.prices import choose_hosting_instance
from tasks.account.roles import endpoint_role, ensure_log_group, ensure_role, function_role
from tasks.model.code import build_lambda_zip
from tasks.run.artifacts import publish_record
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, RunId
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, TrainedModel
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
async def deploy(run_id: RunId, deploy: DeployOptions = DeployOptions()) -> Deployment:
    """Bring the run's endpoint and function to its trained model and try them with a photo of the test split.

    Args:
        run_id: The run whose model it is.
        deploy: The endpoint, and what the function in front of it may fetch.

    Raises:
        SettingsRefused: the run has no trained model.
        StageFailed: endpoint or function failed, AWS rolled back, or the smoke test's answer is wrong in form.
        WaitTimedOut: endpoint or function did not settle within their deadlines.
        AwsFailed: AWS refused.
    """
    run = Run.load(run_id)
    with run.lock():
        endpoint = await deploy_endpoint(run, deploy)
        run.keep(endpoint)
        function = await deploy_function(run, endpoint, deploy)
        run.keep(function)
        smoke = await try_function(run, function)
        run.keep(smoke)
        deployment = Deployment(endpoint, function, smoke)
        await publish_record(STAGE, run_id, deployment)
    return deployment


@task(name="endpoint", cache_policy=NO_CACHE)
async def deploy_endpoint(run: Run, deploy: DeployOptions) -> EndpointRef:
    """Make the endpoint's role, model, configuration and endpoint, or adopt them."""
    return await asyncio.to_thread(_endpoint, run, deploy)


@task(name="function", cache_policy=NO_CACHE)
async def deploy_function(run: Run, endpoint: EndpointRef, deploy: DeployOptions) -> FunctionRef:
    """Make the function's role, code, version and alias, or adopt them."""
    return await asyncio.to_thread(_function, run, endpoint, deploy)


@task(name="smoke test", cache_policy=NO_CACHE)
async def try_function(run: Run, function: FunctionRef) -> SmokeResult:
    """Invoke the function once, through its alias, with a photo of the test split."""
    return await asyncio.to_thread(_smoke, run, function)


def _endpoint(run: Run, deploy: DeployOptions) -> EndpointRef:
    model = run.need(TrainedModel)
    instance = choose_hosting_instance(deploy.instance_type)
    say(f"endpoint: {deploy.instances} × {instance.instance_type}: {instance.reason}")
    group = endpoint_log_group(run.id)
    ensure_log_group(run, group)
    role_arn = ensure_role(run, endpoint_role(run.aws, run.id, model.model_uri, group))
    plan = EndpointPlan(
        run_id=run.id,
        image=inference_image(run.aws.region, has_gpu=instance.has_gpu),
        model_uri=model.model_uri,
        role_arn=role_arn,
        instance=instance,
        instance_count=deploy.instances,
    )
    endpoint = ensure_endpoint(run, plan)
    say(f"endpoint {endpoint.name}: in service with {endpoint.config_name}, {endpoint.seconds:.1f} s")
    return with_first_seconds(endpoint, run.find(EndpointRef))


def _function(run: Run, endpoint: EndpointRef, deploy: DeployOptions) -> FunctionRef:
    group = function_log_group(run.id)
    ensure_log_group(run, group)
    role = function_role(run.aws, run.id, endpoint_arn(run.aws, run.id), group)
    role_arn = ensure_role(run, role)
    zip_path = run.folder / "classify.zip"
    plan = FunctionPlan(
        run_id=run.id,
        endpoint_name=endpoint.name,
        role_name=role.name,
        role_arn=role_arn,
        zip_path=zip_path,
        zip_sha256=build_lambda_zip(zip_path),
        allowed_hosts=deploy.allowed_hosts or hosts_allowed_by_default(run.aws),
    )
    function = ensure_function(run, plan)
    say(f"function {function.name}: alias {function.alias} is version {function.version}")
    return function


def _smoke(run: Run, function: FunctionRef) -> SmokeResult:
    result = smoke_test(run.aws, function, run.need(DatasetRef))
    right = "right" if result.predicted_label == result.true_label else f"it is {result.true_label}"
    say(f"smoke test: {result.predicted_label} ({result.score:.3f}; {right}), {result.latency_ms:.0f} ms")
    return result
