"""Checks what CreateTrainingJob asks for as AWS checks it: limits, the role, the buckets and the objects.

A parameter that localaws would have to ignore is refused by name. Reads S3 and IAM, changes nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.core import Core
from localaws.errors import AwsError, NoSuchBucket, NoSuchRole
from localaws.permissions.roles import Role
from localaws.sagemaker.roles import PRINCIPAL, cannot_assume
from localaws.sagemaker.training.requests import Channel, JobRequest
from localaws.timed_regex import BadPattern, TimedRegex
from localaws.violations import one_violation
from localaws.vpc import members, vpc_of

IMAGE = re.compile(r"(^|/)pytorch(-training)?:[\w.\-]+$")
UNSUPPORTED = (
    "AlgorithmSpecification.AlgorithmName",
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
    "AlgorithmSpecification.TrainingImageConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "EnableInterContainerTrafficEncryption",
    "ExperimentConfig",
    "InfraCheckConfig",
    "MlflowConfig",
    "ModelPackageConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "RemoteDebugConfig",
    "ResourceConfig.InstanceGroups",
    "ResourceConfig.InstancePlacementConfig",
    "ResourceConfig.InstancePreferences",
    "ResourceConfig.KeepAlivePeriodInSeconds",
    "ResourceConfig.TrainingPlanArn",
    "RetryStrategy",
    "ServerlessJobConfig",
    "SessionChainingConfig",
    "StoppingCondition.MaxPendingTimeInSeconds",
    "TensorBoardOutputConfig",
)


def check_supported(parameters: Mapping[str, Any]) -> None:
    """Refuse what localaws does not carry out.

    Raises:
        ValidationError: naming the parameter.
    """
    for field in UNSUPPORTED:
        value: Any = parameters
        for part in field.split("."):
            value = (value or {}).get(part)
        if value:
            raise ValidationError(f"localaws does not support {field} in CreateTrainingJob.")
    algorithm = parameters.get("AlgorithmSpecification") or {}
    image, mode = algorithm.get("TrainingImage") or "", algorithm.get("TrainingInputMode")
    if not IMAGE.search(image):
        raise ValidationError(
            f"localaws cannot run the training image {image!r}: it emulates images named pytorch and pytorch-training."
        )
    if mode != "File":
        raise ValidationError(
            f"localaws does not support AlgorithmSpecification.TrainingInputMode {mode!r}, only 'File'."
        )
    if not algorithm.get("ContainerEntrypoint"):
        _check_script(parameters, algorithm)
    _check_metrics(algorithm.get("MetricDefinitions") or ())


def _check_script(parameters: Mapping[str, Any], algorithm: Mapping[str, Any]) -> None:
    """Check that the entry point of AWS's image, for which `programs/script_mode.py` stands, has a script to run."""
    program = (parameters.get("HyperParameters") or {}).get("sagemaker_program")
    if not program and not (parameters.get("Environment") or {}).get("SAGEMAKER_PROGRAM"):
        raise ValidationError(
            "localaws needs AlgorithmSpecification.ContainerEntrypoint, or the hyperparameter sagemaker_program, which "
            "names the script that the entry point of the image runs."
        )
    if algorithm.get("ContainerArguments"):
        raise ValidationError(
            "localaws does not support AlgorithmSpecification.ContainerArguments without ContainerEntrypoint."
        )


def _check_metrics(definitions: Any) -> None:
    for definition in definitions:
        try:
            groups = TimedRegex(definition["Regex"]).groups
        except BadPattern as error:
            raise ValidationError(
                f"Invalid metric regex {definition['Regex']!r} of {definition['Name']!r}: {error}."
            ) from error
        if groups < 1:
            raise ValidationError(
                f"Invalid metric regex {definition['Regex']!r} of {definition['Name']!r}: it has no capture group."
            )


def check_limits(request: JobRequest) -> None:
    """Check counts, times and the names of channels.

    Raises:
        ValidationError: a value is not allowed.
    """
    if request.instance_count < 1:
        raise ValidationError(
            one_violation(
                request.instance_count,
                "resourceConfig.instanceCount",
                "Member must have value greater than or equal to 1",
            )
        )
    names = [channel.name for channel in request.channels]
    if len(set(names)) != len(names):
        raise ValidationError(f"Channel names must be unique: {', '.join(names)}.")
    _check_waiting(request)


def _check_waiting(request: JobRequest) -> None:
    wait, runtime = request.max_wait_seconds, request.max_runtime_seconds
    if not request.is_spot and wait:
        raise ValidationError("MaxWaitTimeInSeconds above 0 is supported only when EnableManagedSpotTraining is true.")
    if request.is_spot and (wait is None or wait < runtime):
        raise ValidationError(
            f"Invalid MaxWaitTimeInSeconds {wait}. It must be present and be greater than or equal to "
            f"MaxRuntimeInSeconds {runtime}."
        )


def check_role(role_arn: str, job_arn: str, core: Core) -> None:
    """Check that SageMaker may assume the role for a job.

    Raises:
        ValidationError: it may not, or there is no such role.
    """
    try:
        core.credentials.require(role_arn, PRINCIPAL, job_arn)
    except NoSuchRole as error:
        raise ValidationError(cannot_assume(role_arn)) from error


def check_vpc(request: JobRequest, core: Core) -> None:
    """Check that the subnets and groups exist and are of one VPC; SageMaker's own words for it are not known.

    Raises:
        ValidationError: with EC2's words.
    """
    if request.vpc is not None:
        try:
            vpc_of(core, core.settings.region, *members(request.vpc, "Subnets"))
        except AwsError as error:
            raise ValidationError(error.message) from error


def check_locations(request: JobRequest, core: Core) -> None:
    """Check that the buckets exist and that every channel has objects.

    Raises:
        ValidationError: naming the location.
    """
    outputs = [request.output, *([request.checkpoints.store] if request.checkpoints else [])]
    for location in outputs:
        try:
            core.objects.exists(location.bucket, "")
        except NoSuchBucket as error:
            raise ValidationError(f"S3 bucket '{location.bucket}' of {location.uri} does not exist.") from error
    objects = core.objects_of(Role(core.authority, request.role_arn, "SageMaker"))
    for channel in request.channels:
        try:
            found = objects.list(channel.source.bucket, channel.source.prefix)
        except AwsError:  # there is no bucket, or the role may not list it: AWS has one answer
            found = []
        if not found:
            raise ValidationError(_no_objects(channel, request.role_arn, core.settings.region))


def _no_objects(channel: Channel, role_arn: str, region: str) -> str:
    kind = "S3 URL" if not channel.manifest else "the S3 manifest file"
    return (
        f'No S3 objects found under {kind} "{channel.source.uri}" given in input data source. Please ensure that the '
        f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
        f'"{role_arn}" has "s3:ListBucket" permissions on bucket "{channel.source.bucket}".'
    )
