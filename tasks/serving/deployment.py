"""Deploys a run: creates or adopts its endpoint and the function in front of it, and tests the function once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.account.bucket import is_own_bucket
from tasks.account.container_images import inference_image
from tasks.account.encryption import encryption_of
from tasks.account.lifecycle import captured_rule, put_rule
from tasks.account.objects import bucket_and_key
from tasks.account.prices import choose_hosting_instance
from tasks.account.role_policies import captured_prefix, endpoint_role, function_role, role_name
from tasks.account.roles import ensure_log_group, ensure_role
from tasks.run.errors import SettingsRefused, aws_boundary
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, Network
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, TrainedModel
from tasks.run.waiting import say
from tasks.serving.answering import wait_until_each_answers
from tasks.serving.endpoint import ensure_endpoint, keep_creation_seconds
from tasks.serving.endpoint_plan import (
    Capture,
    EndpointPlan,
    endpoint_arn,
    endpoint_log_group,
    guard_prefix,
    serving_variables,
)
from tasks.serving.function import FunctionPlan, GoLive, at_once, ensure_function, function_log_group
from tasks.serving.packaging import serving_archive, serving_uri
from tasks.serving.public_url import ensure_url, plan_url
from tasks.serving.releases import Release, Releases, promoted_release
from tasks.serving.smoke import SmokeResult, smoke_test
from tasks.serving.staged_images import read_test_image

KEPT_RELEASES = 3
"""So many of the latest releases may be read by the endpoint's role."""


def deploy_endpoint(run: Run, deploy: DeployOptions, network: Network) -> EndpointRef:
    """Create the endpoint's role, model, configuration and endpoint, or adopt them, and wait until it classifies.

    A version that was promoted to the endpoint stays.

    Raises:
        SettingsRefused: the run has no trained model or no staged dataset, or the instance type is unknown.
        StageFailed: the endpoint failed, or AWS rolled back to the former configuration.
        WaitTimedOut: the endpoint was not in service in time, or did not classify a photo of the test split.
        OwnershipRefused: a resource of that name does not have this run's tags.
        AwsFailed: AWS refused.
    """
    plan = describe_endpoint(run, deploy, network, run.need(TrainedModel))
    say(f"endpoint: {deploy.instances} × {plan.instance.instance_type}: {plan.instance.reason}")
    if plan.package is not None:
        say(f"endpoint: {plan.package} was promoted to it, and stays: kennel rollback {run.id} takes it back")
    serving_archive(run, run.need(TrainedModel))
    expire_captured(run, plan)
    endpoint = ensure_endpoint(run, replace(plan, role_arn=ensure_endpoint_role(run, plan)))
    say(f"endpoint {endpoint.name}: in service with {endpoint.config_name} after {endpoint.seconds:.1f} s")
    photo = read_test_image(run.aws, run.need(DatasetRef)).content
    seconds = wait_until_each_answers(run.aws, endpoint, photo, instances=endpoint.instance_count)
    if seconds:
        say(f"endpoint {endpoint.name}: each instance classified a photo {seconds:.1f} s later")
    return keep_creation_seconds(endpoint, run.find(EndpointRef))


def ensure_endpoint_role(run: Run, plan: EndpointPlan) -> str:
    """Create or adopt the endpoint's log group and role, and return the role's ARN.

    The role may read each archive that the endpoint may have to serve: an update may be taken back.

    Raises:
        OwnershipRefused: the role does not have this run's tags.
        AwsFailed: AWS refused.
    """
    group, archives = endpoint_log_group(run.id), _archives(run, plan)
    ensure_log_group(run, group)
    role = endpoint_role(
        run.aws,
        run.id,
        archives,
        group,
        image=plan.image,
        in_vpc=plan.vpc is not None,
        key_arn=encryption_of(run.aws, bucket_and_key(plan.model_uri)[0]).key_arn,
        captures=plan.capture is not None,
        alarms=guard_prefix(run.id) if plan.deployment is not None else None,
    )
    return ensure_role(run, role)


def _archives(run: Run, plan: EndpointPlan) -> tuple[str, ...]:
    kept, own = run.find(Releases), serving_uri(run, run.need(TrainedModel))
    released = () if kept is None else tuple(each.model_uri for each in kept.all[-KEPT_RELEASES:])
    copied = () if plan.shadow is None else (plan.shadow.model_uri,)
    return tuple(dict.fromkeys((plan.model_uri, own, *released, *copied)))


def describe_endpoint(
    run: Run, deploy: DeployOptions, network: Network, model: TrainedModel, release: Release | None = None
) -> EndpointPlan:
    """Return the plan of the endpoint that serves a release, by default the present one, without changing AWS.

    Without a release, that is the run's own `model`.

    Raises:
        SettingsRefused: AWS has no image in this region, or the release has none for this instance type.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    release = release or promoted_release(run)
    promoted = release if release is not None and release.package else None
    instance = choose_hosting_instance(run.aws.region, deploy.instance_type)
    image = inference_image(run.settings, has_gpu=instance.has_gpu)
    if promoted is not None and promoted.image != image:
        why = f"its image is {promoted.image}, and {instance.instance_type} is served by {image}"
        raise SettingsRefused("endpoint", f"{promoted.label} cannot serve there", why, "name another --instance-type")
    archive = serving_uri(run, model) if promoted is None else promoted.model_uri
    bucket = bucket_and_key(archive)[0]
    encryption = encryption_of(run.aws, bucket)
    return EndpointPlan(
        run_id=run.id,
        image=image,
        package=None if promoted is None else promoted.package,
        model_uri=archive,
        role_arn=run.aws.arn("iam", f"role/{role_name(run.id, 'endpoint')}"),
        instance=instance,
        instance_count=deploy.instances,
        vpc=network.vpc,
        volume_key=encryption.of_volume(instance.instance_type),
        variables=serving_variables(run.settings),
        capture=_capture(deploy, f"s3://{bucket}/{captured_prefix(run.id)}", encryption.key_arn),
    )


def _capture(deploy: DeployOptions, uri: str, key_arn: str | None) -> Capture | None:
    percentage = round(100 * deploy.capture)
    return Capture(percentage, uri, key_arn, deploy.capture_days) if percentage else None


def expire_captured(run: Run, plan: EndpointPlan) -> None:
    """Have S3 delete what the endpoint will keep of requests in time, in a bucket that kennel made.

    Raises:
        AwsFailed: S3 refused.
    """
    if plan.capture is None:
        return
    bucket = bucket_and_key(plan.model_uri)[0]
    with aws_boundary(f"lifecycle of bucket {bucket}"):
        if is_own_bucket(run, bucket):
            put_rule(run.aws, bucket, captured_rule(run.id, plan.capture.days))
        else:
            say(f"endpoint: {bucket} is your own bucket, so only `kennel drift {run.id}` deletes kept photos in time")


def deploy_function(
    run: Run,
    endpoint: EndpointRef,
    deploy: DeployOptions,
    network: Network,
    *,
    zip_path: Path,
    zip_sha256: str,
    go_live: GoLive = at_once,
) -> FunctionRef:
    """Create the function's role, code, version, alias and URL, or adopt them. `zip_path` holds the code.

    Raises:
        SpendingRefused: a URL for anybody was not confirmed; nothing was made.
        StageFailed: an update of the function failed, or its new version was taken back.
        WaitTimedOut: an update was not over in time.
        OwnershipRefused: a resource of that name does not have this run's tags.
        AwsFailed: AWS refused.
    """
    url = plan_url(deploy)
    group = function_log_group(run.id)
    ensure_log_group(run, group)
    vpc = network.vpc
    role = function_role(run.aws, run.id, endpoint_arn(run.aws, run.id), group, in_vpc=vpc is not None)
    plan = FunctionPlan(
        run_id=run.id,
        endpoint_name=endpoint.name,
        role_name=role.name,
        role_arn=ensure_role(run, role),
        zip_path=zip_path,
        zip_sha256=zip_sha256,
        allowed_hosts=deploy.allowed_hosts,
        vpc=vpc,
        allowed_origins=deploy.allowed_origins,
        fetches_for_anybody=deploy.fetch_urls,
    )
    function = ensure_function(run, plan, go_live)
    say(f"function {function.name}: the alias {function.alias} points to version {function.version}")
    return ensure_url(run, function, url)


def try_function(run: Run, function: FunctionRef) -> SmokeResult:
    """Invoke the function once through its alias with a photo of the test split, and report its answer.

    Raises:
        SettingsRefused: the run has no staged dataset.
        StageFailed: the function failed, or its answer does not follow the contract.
        AwsFailed: S3 or Lambda refused.
    """
    result = smoke_test(run.aws, function, run.need(DatasetRef))
    judgement = "right" if result.predicted_label == result.true_label else f"wrong, it is {result.true_label}"
    say(
        f"smoke test: the function answered {result.predicted_label} with probability {result.score:.3f} "
        f"({judgement}) in {result.latency_ms:.0f} ms"
    )
    return result
