"""What a run serves: its endpoint and the function in front of it, made or adopted from its records, and tried."""

from __future__ import annotations

from pathlib import Path

from tasks.account.images import inference_image
from tasks.account.prices import choose_hosting_instance
from tasks.account.roles import endpoint_role, ensure_log_group, ensure_role, function_role
from tasks.run.handle import Run
from tasks.run.options import DeployOptions
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, TrainedModel
from tasks.run.waiting import say
from tasks.serving.endpoint import (
    EndpointPlan,
    endpoint_arn,
    endpoint_log_group,
    ensure_endpoint,
    keep_creation_seconds,
)
from tasks.serving.function import FunctionPlan, ensure_function, function_log_group
from tasks.serving.smoke import SmokeResult, smoke_test


def deploy_endpoint(run: Run, deploy: DeployOptions) -> EndpointRef:
    """Make the endpoint's role, model, configuration and endpoint, or adopt them.

    Raises:
        SettingsRefused: the run has no trained model, or the instance type is unknown.
        StageFailed, WaitTimedOut, OwnershipRefused, AwsFailed: as `ensure_endpoint`.
    """
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
    return keep_creation_seconds(endpoint, run.find(EndpointRef))


def deploy_function(
    run: Run, endpoint: EndpointRef, deploy: DeployOptions, *, zip_path: Path, zip_sha256: str
) -> FunctionRef:
    """Make the function's role, code, version and alias, or adopt them; `zip_path` holds the code.

    Raises:
        StageFailed, WaitTimedOut, OwnershipRefused, AwsFailed: as `ensure_function`.
    """
    group = function_log_group(run.id)
    ensure_log_group(run, group)
    role = function_role(run.aws, run.id, endpoint_arn(run.aws, run.id), group)
    plan = FunctionPlan(
        run_id=run.id,
        endpoint_name=endpoint.name,
        role_name=role.name,
        role_arn=ensure_role(run, role),
        zip_path=zip_path,
        zip_sha256=zip_sha256,
        allowed_hosts=deploy.allowed_hosts or run.aws.target.allowed_hosts,
    )
    function = ensure_function(run, plan)
    say(f"function {function.name}: alias {function.alias} is version {function.version}")
    return function


def try_function(run: Run, function: FunctionRef) -> SmokeResult:
    """Invoke the function once, through its alias, with a photo of the test split, and say what it answered.

    Raises:
        SettingsRefused: the run has no staged dataset.
        StageFailed, AwsFailed: as `smoke_test`.
    """
    result = smoke_test(run.aws, function, run.need(DatasetRef))
    right = "right" if result.predicted_label == result.true_label else f"it is {result.true_label}"
    say(f"smoke test: {result.predicted_label} ({result.score:.3f}; {right}), {result.latency_ms:.0f} ms")
    return result
