"""What CreateTrainingJob asks for, checked as AWS checks it.

First the constraints of botocore's own model (lengths, patterns, enumerations), then what needs the account's state:
the role, the buckets, the objects. A parameter that localaws would have to ignore is refused by name. Reads S3 and IAM,
changes nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from moto.sagemaker.exceptions import SagemakerClientError, ValidationError

from localaws.core import Core
from localaws.errors import NoSuchBucket
from localaws.policies import trusts
from localaws.sagemaker.constraints import check_constraints, violation

ML = PurePosixPath("/opt/ml")
DEFAULT_CHECKPOINTS = "/opt/ml/checkpoints"
DEFAULT_RUNTIME_SECONDS = 86_400
INSTANCE_LIMIT = 20  # AWS's usual quota of instances for one training job
IMAGE = re.compile(r"(^|/)pytorch-training:[\w.\-]+$")
PRINCIPAL = "sagemaker.amazonaws.com"
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
    "OutputDataConfig.KmsKeyId",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "RemoteDebugConfig",
    "ResourceConfig.InstanceGroups",
    "ResourceConfig.InstancePlacementConfig",
    "ResourceConfig.InstancePreferences",
    "ResourceConfig.KeepAlivePeriodInSeconds",
    "ResourceConfig.TrainingPlanArn",
    "ResourceConfig.VolumeKmsKeyId",
    "RetryStrategy",
    "ServerlessJobConfig",
    "SessionChainingConfig",
    "StoppingCondition.MaxPendingTimeInSeconds",
    "TensorBoardOutputConfig",
    "VpcConfig",
)


class ResourceLimitExceededError(SagemakerClientError):
    """More instances than the account may have."""

    code = "ResourceLimitExceeded"


@dataclass(frozen=True)
class Location:
    """A bucket and the beginning of keys in it."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """The location as S3 URI."""
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Channel:
    """One input channel. `manifest`: the location is that of a manifest which lists the objects."""

    name: str
    source: Location
    manifest: bool
    sharded: bool
    content_type: str | None


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are in S3, and in the container (under /opt/ml)."""

    store: Location
    local_path: PurePosixPath


@dataclass(frozen=True)
class JobRequest:
    """A valid request. `echo` is the part that DescribeTrainingJob repeats."""

    name: str
    role_arn: str
    command: tuple[str, ...]
    hyperparameters: Mapping[str, str]
    environment: Mapping[str, str]
    channels: tuple[Channel, ...]
    output: Location
    is_compressed: bool
    instance_type: str
    instance_count: int
    max_runtime_seconds: int
    max_wait_seconds: int | None
    is_spot: bool
    is_isolated: bool
    checkpoints: Checkpoints | None
    metrics: tuple[tuple[str, str], ...]
    tags: tuple[Mapping[str, str], ...]
    echo: Mapping[str, Any]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the instances."""
        return tuple(f"algo-{number}" for number in range(1, self.instance_count + 1))

    def output_of(self, name: str) -> Location:
        """Return where the archive (or, uncompressed, the folder) `name` of the job's output goes."""
        base = f"{self.output.prefix.rstrip('/')}/{self.name}/output/{name}".lstrip("/")
        return Location(self.output.bucket, f"{base}.tar.gz" if self.is_compressed else f"{base}/")


def parse_request(parameters: Mapping[str, Any], core: Core) -> JobRequest:
    """Return the request when it can be carried out.

    Raises:
        ValidationError: a value breaks one of AWS's rules, or asks for what localaws does not do; the message names it.
        ResourceLimitExceededError: more than 20 instances.
    """
    check_constraints(parameters, "CreateTrainingJobRequest")
    _check_supported(parameters)
    request = _read(parameters)
    _check_limits(request)
    _check_role(request.role_arn, core)
    _check_locations(request, core)
    return request


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(parameters: Mapping[str, Any]) -> JobRequest:
    algorithm, resources = parameters["AlgorithmSpecification"], parameters["ResourceConfig"]
    stopping = parameters.get("StoppingCondition") or {}
    output = parameters["OutputDataConfig"]
    return JobRequest(
        name=parameters["TrainingJobName"],
        role_arn=parameters["RoleArn"],
        command=(*algorithm["ContainerEntrypoint"], *(algorithm.get("ContainerArguments") or ())),
        hyperparameters=dict(parameters.get("HyperParameters") or {}),
        environment=dict(parameters.get("Environment") or {}),
        channels=tuple(_read_channel(channel) for channel in parameters.get("InputDataConfig") or ()),
        output=parse_uri(output["S3OutputPath"], "OutputDataConfig.S3OutputPath"),
        is_compressed=output.get("CompressionType", "GZIP") == "GZIP",
        instance_type=resources["InstanceType"],
        instance_count=resources["InstanceCount"],
        max_runtime_seconds=stopping.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS),
        max_wait_seconds=stopping.get("MaxWaitTimeInSeconds"),
        is_spot=bool(parameters.get("EnableManagedSpotTraining")),
        is_isolated=bool(parameters.get("EnableNetworkIsolation")),
        checkpoints=_read_checkpoints(parameters.get("CheckpointConfig")),
        metrics=tuple((each["Name"], each["Regex"]) for each in algorithm.get("MetricDefinitions") or ()),
        tags=tuple(dict(tag) for tag in parameters.get("Tags") or ()),
        echo=_echo(parameters),
    )


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
        source=parse_uri(source["S3Uri"], f"InputDataConfig channel {name!r}"),
        manifest=source["S3DataType"] == "ManifestFile",
        sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
        content_type=channel.get("ContentType"),
    )


def _read_checkpoints(config: Mapping[str, Any] | None) -> Checkpoints | None:
    if not config:
        return None
    local = PurePosixPath(config.get("LocalPath") or DEFAULT_CHECKPOINTS)
    if ML not in local.parents or ".." in local.parts:
        raise ValidationError(f"CheckpointConfig.LocalPath {str(local)!r}: localaws supports a folder under {ML} only.")
    if local.is_relative_to(ML / "input") or local.is_relative_to(ML / "output"):
        raise ValidationError(f"CheckpointConfig.LocalPath {str(local)!r} is reserved.")
    return Checkpoints(parse_uri(config["S3Uri"], "CheckpointConfig.S3Uri"), local)


def parse_uri(uri: str, field: str) -> Location:
    """Return the location of an `s3://bucket/prefix` URI.

    Raises:
        ValidationError: it is none; the message names `field`.
    """
    match = re.fullmatch(r"s3://([^/]+)/?(.*)", uri)
    if match is None:
        raise ValidationError(f"{field}: {uri!r} is not an S3 URI of the form s3://bucket/prefix.")
    return Location(match[1], match[2])


def _echo(parameters: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: value for key, value in parameters.items() if key not in ("Tags", "TrainingJobName") and value is not None
    }
    stopping = {"MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS, **(kept.get("StoppingCondition") or {})}
    switches = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    return {**kept, **{switch: bool(kept.get(switch)) for switch in switches}, "StoppingCondition": stopping}


# --- checking ---------------------------------------------------------------------------------------------------------


def _check_supported(parameters: Mapping[str, Any]) -> None:
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
            f"localaws cannot run the training image {image!r}: only those named pytorch-training have a counterpart."
        )
    if mode != "File":
        raise ValidationError(
            f"localaws does not support AlgorithmSpecification.TrainingInputMode {mode!r}, only 'File'."
        )
    if not algorithm.get("ContainerEntrypoint"):
        raise ValidationError(
            "localaws needs AlgorithmSpecification.ContainerEntrypoint: it has no image whose own could be run."
        )
    _check_metrics(algorithm.get("MetricDefinitions") or ())


def _check_metrics(definitions: Any) -> None:
    for definition in definitions:
        try:
            groups = re.compile(definition["Regex"]).groups
        except re.error as error:
            raise ValidationError(
                f"Invalid metric regex {definition['Regex']!r} of {definition['Name']!r}: {error}."
            ) from error
        if groups < 1:
            raise ValidationError(
                f"Invalid metric regex {definition['Regex']!r} of {definition['Name']!r}: it has no capture group."
            )


def _check_limits(request: JobRequest) -> None:
    if request.instance_count < 1:
        raise ValidationError(
            "1 validation error detected: "
            + violation(
                request.instance_count,
                "resourceConfig.instanceCount",
                "Member must have value greater than or equal to 1",
            )
        )
    if request.instance_count > INSTANCE_LIMIT:
        raise ResourceLimitExceededError(
            f"The account-level service limit '{request.instance_type} for training job usage' is "
            f"{INSTANCE_LIMIT} Instances, with current utilization of 0 Instances and a request "
            f"delta of {request.instance_count} Instances."
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


def _check_role(role_arn: str, core: Core) -> None:
    from moto.iam.models import iam_backends

    roles = {role.arn: role for role in iam_backends[core.settings.account_id]["aws"].roles.values()}
    role = roles.get(role_arn)
    if role is None or not trusts(role.assume_role_policy_document, PRINCIPAL):
        raise ValidationError(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{PRINCIPAL}' to assume the role."
        )


def _check_locations(request: JobRequest, core: Core) -> None:
    outputs = [request.output, *([request.checkpoints.store] if request.checkpoints else [])]
    for location in outputs:
        try:
            core.objects.exists(location.bucket, "")
        except NoSuchBucket as error:
            raise ValidationError(f"S3 bucket '{location.bucket}' of {location.uri} does not exist.") from error
    for channel in request.channels:
        try:
            found = core.objects.list(channel.source.bucket, channel.source.prefix)
        except NoSuchBucket:
            found = []
        if not found:
            raise ValidationError(no_objects(channel, request.role_arn, core.settings.region))


def no_objects(channel: Channel, role_arn: str, region: str) -> str:
    """Return what AWS says of a channel without objects."""
    kind = "S3 URL" if not channel.manifest else "the S3 manifest file"
    return (
        f'No S3 objects found under {kind} "{channel.source.uri}" given in input data source. Please ensure that the '
        f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
        f'"{role_arn}" has "s3:ListBucket" permissions on bucket "{channel.source.bucket}".'
    )
