"""Checks what CreateTrainingJob alone asks for as AWS checks it.

A parameter that localaws would have to ignore is refused by name.
"""

from collections.abc import Mapping
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.sagemaker.jobs.checks import check_image, refuse_unsupported
from localaws.sagemaker.training.requests import TrainingRequest
from localaws.timed_regex import BadPattern, TimedRegex
from localaws.violations import one_violation

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
    refuse_unsupported(parameters, UNSUPPORTED, "CreateTrainingJob")
    algorithm = parameters.get("AlgorithmSpecification") or {}
    check_image(algorithm.get("TrainingImage") or "", "training")
    mode = algorithm.get("TrainingInputMode")
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


def check_limits(request: TrainingRequest) -> None:
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


def _check_waiting(request: TrainingRequest) -> None:
    wait, runtime = request.max_wait_seconds, request.max_runtime_seconds
    if not request.is_spot and wait:
        raise ValidationError("MaxWaitTimeInSeconds above 0 is supported only when EnableManagedSpotTraining is true.")
    if request.is_spot and (wait is None or wait < runtime):
        raise ValidationError(
            f"Invalid MaxWaitTimeInSeconds {wait}. It must be present and be greater than or equal to "
            f"MaxRuntimeInSeconds {runtime}."
        )
