"""Reads CreateProcessingJob's parameters into a `ProcessingRequest`.

The constraints of botocore's own model were checked before (`localaws.inputs`); here the checks of `checks.py` are.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from localaws.core import Core
from localaws.sagemaker.jobs.checks import check_places
from localaws.sagemaker.jobs.requests import ML, Channel, Location
from localaws.sagemaker.processing.checks import check_names_and_paths, check_supported
from localaws.sagemaker.processing.requests import Output, ProcessingRequest

DEFAULT_RUNTIME_SECONDS = 86_400


def parse_request(parameters: Mapping[str, Any], core: Core) -> ProcessingRequest:
    """Return the request when it can be carried out.

    Raises:
        ValidationError: a value breaks one of AWS's rules, or asks for what localaws does not do; the message names it.
    """
    check_supported(parameters)
    request = _read(_with_defaults(parameters))
    check_names_and_paths(request)
    check_places(request, "processing-job", [each.store for each in request.outputs], core)
    return request


def _with_defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with the values that Describe shows for those that were not given."""
    given = {name: value for name, value in parameters.items() if value is not None}
    of_input = {"S3DataDistributionType": "FullyReplicated", "S3InputMode": "File", "S3CompressionType": "None"}
    inputs = [
        {**each, "AppManaged": False, "S3Input": {**of_input, **_present(each["S3Input"])}}
        for each in given.get("ProcessingInputs") or ()
    ]
    config = given.get("ProcessingOutputConfig")
    outputs = [{**each, "AppManaged": False} for each in (config or {}).get("Outputs") or ()]
    stopping = {"MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS, **(given.get("StoppingCondition") or {})}
    return {
        **given,
        **({"ProcessingInputs": inputs} if inputs else {}),
        **({"ProcessingOutputConfig": {**config, "Outputs": outputs}} if config else {}),
        "StoppingCondition": stopping,
    }


def _read(given: Mapping[str, Any]) -> ProcessingRequest:
    application, cluster = given["AppSpecification"], given["ProcessingResources"]["ClusterConfig"]
    config, network = given.get("ProcessingOutputConfig") or {}, given.get("NetworkConfig") or {}
    return ProcessingRequest(
        name=given["ProcessingJobName"],
        role_arn=given["RoleArn"],
        command=(*application["ContainerEntrypoint"], *(application.get("ContainerArguments") or ())),
        environment=dict(given.get("Environment") or {}),
        channels=tuple(_read_input(each) for each in given.get("ProcessingInputs") or ()),
        instance_type=cluster["InstanceType"],
        instance_count=cluster["InstanceCount"],
        max_runtime_seconds=given["StoppingCondition"]["MaxRuntimeInSeconds"],
        is_spot=False,
        is_isolated=bool(network.get("EnableNetworkIsolation")),
        vpc=network.get("VpcConfig"),
        output_key=config.get("KmsKeyId") or None,
        volume_key=cluster.get("VolumeKmsKeyId") or None,
        tags=tuple(dict(tag) for tag in given.get("Tags") or ()),
        echo={name: value for name, value in given.items() if name not in ("Tags", "ProcessingJobName")},
        outputs=tuple(_read_output(each) for each in config.get("Outputs") or ()),
    )


def _read_input(given: Mapping[str, Any]) -> Channel:
    name, source = given["InputName"], given["S3Input"]
    return Channel(
        name=name,
        source=Location.parse(source["S3Uri"], f"ProcessingInputs {name!r}"),
        manifest=source["S3DataType"] == "ManifestFile",
        sharded=source["S3DataDistributionType"] == "ShardedByS3Key",
        content_type=None,
        folder=PurePosixPath(source["LocalPath"]).relative_to(ML),
    )


def _read_output(given: Mapping[str, Any]) -> Output:
    name, target = given["OutputName"], given["S3Output"]
    return Output(
        name=name,
        store=Location.parse(target["S3Uri"], f"ProcessingOutputConfig.Outputs {name!r}"),
        local_path=PurePosixPath(target["LocalPath"]),
        is_continuous=target["S3UploadMode"] == "Continuous",
    )


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
