"""Reads CreateTrainingJob's parameters into a `TrainingRequest`.

The constraints of botocore's own model were checked before (`localaws.inputs`); here the checks of `checks.py` are.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.core import Core
from localaws.programs import launch_command
from localaws.sagemaker.jobs.checks import check_places
from localaws.sagemaker.jobs.requests import ML, Channel, Location
from localaws.sagemaker.training.checks import check_limits, check_supported
from localaws.sagemaker.training.requests import Checkpoints, TrainingRequest

DEFAULT_CHECKPOINTS = "/opt/ml/checkpoints"
DEFAULT_RUNTIME_SECONDS = 86_400


def parse_request(parameters: Mapping[str, Any], core: Core) -> TrainingRequest:
    """Return the request when it can be carried out.

    Raises:
        ValidationError: a value breaks one of AWS's rules, or asks for what localaws does not do; the message names it.
    """
    check_supported(parameters)
    request = _read(parameters)
    check_limits(request)
    stores = [request.checkpoints.store] if request.checkpoints else []
    check_places(request, "training-job", [request.output, *stores], core)
    return request


def _read(parameters: Mapping[str, Any]) -> TrainingRequest:
    algorithm, resources = parameters["AlgorithmSpecification"], parameters["ResourceConfig"]
    stopping = parameters.get("StoppingCondition") or {}
    output = parameters["OutputDataConfig"]
    return TrainingRequest(
        name=parameters["TrainingJobName"],
        role_arn=parameters["RoleArn"],
        command=_command(algorithm),
        hyperparameters=dict(parameters.get("HyperParameters") or {}),
        environment=dict(parameters.get("Environment") or {}),
        channels=tuple(_read_channel(channel) for channel in parameters.get("InputDataConfig") or ()),
        output=Location.parse(output["S3OutputPath"], "OutputDataConfig.S3OutputPath"),
        is_compressed=output.get("CompressionType", "GZIP") == "GZIP",
        instance_type=resources["InstanceType"],
        instance_count=resources["InstanceCount"],
        max_runtime_seconds=stopping.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS),
        max_wait_seconds=stopping.get("MaxWaitTimeInSeconds"),
        is_spot=bool(parameters.get("EnableManagedSpotTraining")),
        is_isolated=bool(parameters.get("EnableNetworkIsolation")),
        checkpoints=_read_checkpoints(parameters.get("CheckpointConfig")),
        metrics=tuple((each["Name"], each["Regex"]) for each in algorithm.get("MetricDefinitions") or ()),
        vpc=parameters.get("VpcConfig"),
        output_key=output.get("KmsKeyId") or None,
        volume_key=resources.get("VolumeKmsKeyId") or None,
        tags=tuple(dict(tag) for tag in parameters.get("Tags") or ()),
        echo=_echo(parameters),
    )


def _command(algorithm: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the job's own entry point, or what stands for that of its image."""
    if algorithm.get("ContainerEntrypoint"):
        return (*algorithm["ContainerEntrypoint"], *(algorithm.get("ContainerArguments") or ()))
    return tuple(launch_command("script_mode", {"base": str(ML)}, with_packages=True))


def _read_channel(channel: Mapping[str, Any]) -> Channel:
    name = channel["ChannelName"]
    source = (channel["DataSource"] or {}).get("S3DataSource")
    if not source:
        raise ValidationError(f"InputDataConfig channel {name!r}: localaws supports DataSource.S3DataSource only.")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise ValidationError(
            f"InputDataConfig channel {name!r}: localaws does not support S3DataType {source['S3DataType']!r}."
        )
    for field, supported in (("InputMode", "File"), ("CompressionType", "None"), ("RecordWrapperType", "None")):
        if channel.get(field, supported) != supported:
            raise ValidationError(
                f"InputDataConfig channel {name!r}: localaws does not support {field} {channel[field]!r}."
            )
    for field in ("ShuffleConfig", "AttributeNames", "InstanceGroupNames", "ModelAccessConfig", "HubAccessConfig"):
        if channel.get(field) or source.get(field):
            raise ValidationError(f"InputDataConfig channel {name!r}: localaws does not support {field}.")
    return Channel(
        name=name,
        source=Location.parse(source["S3Uri"], f"InputDataConfig channel {name!r}"),
        manifest=source["S3DataType"] == "ManifestFile",
        sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
        content_type=channel.get("ContentType"),
        folder=PurePosixPath("input/data", name),
    )


def _read_checkpoints(config: Mapping[str, Any] | None) -> Checkpoints | None:
    if not config:
        return None
    local = PurePosixPath(config.get("LocalPath") or DEFAULT_CHECKPOINTS)
    if ML not in local.parents or ".." in local.parts:
        raise ValidationError(f"CheckpointConfig.LocalPath {str(local)!r}: localaws supports a folder under {ML} only.")
    if local.is_relative_to(ML / "input") or local.is_relative_to(ML / "output"):
        raise ValidationError(f"CheckpointConfig.LocalPath {str(local)!r} is reserved.")
    return Checkpoints(Location.parse(config["S3Uri"], "CheckpointConfig.S3Uri"), local)


def _echo(parameters: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: value for key, value in parameters.items() if key not in ("Tags", "TrainingJobName") and value is not None
    }
    stopping = {"MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS, **(kept.get("StoppingCondition") or {})}
    switches = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    return {**kept, **{switch: bool(kept.get(switch)) for switch in switches}, "StoppingCondition": stopping}
