"""The files that a processing job's container finds in /opt/ml/config.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-config.html; `network_interface_name` and
`current_instance_type` are in the file of the SDK's local mode (`sagemaker/core/local/image.py`).
"""

from collections.abc import Mapping
from typing import Any

from localaws.sagemaker.processing.requests import ProcessingRequest


def configuration(request: ProcessingRequest, arn: str, host: str, interface: str) -> Mapping[str, object]:
    """Return what is in the files of a host, by their paths below /opt/ml."""
    resources = {
        "current_host": host,
        "current_instance_type": request.instance_type,
        "hosts": list(request.hosts),
        "network_interface_name": interface,
    }
    return {"config/resourceconfig.json": resources, "config/processingjobconfig.json": _job(request, arn)}


def _job(request: ProcessingRequest, arn: str) -> dict[str, Any]:
    echo = request.echo
    unset = {"ContainerEntrypoint": None, "ContainerArguments": None}
    cluster = {**echo["ProcessingResources"]["ClusterConfig"], "VolumeKmsKeyId": request.volume_key}
    outputs = (echo.get("ProcessingOutputConfig") or {}).get("Outputs", [])
    return {
        "ProcessingJobArn": arn,
        "ProcessingJobName": request.name,
        "AppSpecification": {**unset, **echo["AppSpecification"]},
        "Environment": dict(request.environment),
        "ProcessingInputs": [_input(each) for each in echo.get("ProcessingInputs") or ()],
        "ProcessingOutputConfig": {"Outputs": outputs, "KmsKeyId": request.output_key},
        "ProcessingResources": {"ClusterConfig": cluster},
        "RoleArn": request.role_arn,
        "StoppingCondition": echo["StoppingCondition"],
    }


def _input(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, "S3Input": {**given["S3Input"], "S3DownloadMode": "StartOfJob"}}
