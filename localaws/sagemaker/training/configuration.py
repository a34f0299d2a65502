"""The files that a training job's container finds in /opt/ml/input/config."""

from collections.abc import Mapping

from localaws.sagemaker.training.requests import TrainingRequest


def configuration(request: TrainingRequest, host: str, interface: str) -> Mapping[str, object]:
    """Return what is in the files of a host, by their paths below /opt/ml."""
    return {
        "input/config/resourceconfig.json": _resource_config(request, host, interface),
        "input/config/inputdataconfig.json": _input_data_config(request),
        "input/config/hyperparameters.json": dict(request.hyperparameters),
    }


def _resource_config(request: TrainingRequest, current: str, interface: str) -> dict[str, object]:
    group = {
        "instance_group_name": "homogeneousCluster",
        "instance_type": request.instance_type,
        "hosts": list(request.hosts),
    }
    return {
        "current_host": current,
        "current_instance_type": request.instance_type,
        "current_group_name": "homogeneousCluster",
        "hosts": list(request.hosts),
        "instance_groups": [group],
        "network_interface_name": interface,
    }


def _input_data_config(request: TrainingRequest) -> dict[str, dict[str, str]]:
    config: dict[str, dict[str, str]] = {}
    for channel in request.channels:
        config[channel.name] = {
            "TrainingInputMode": "File",
            "S3DistributionType": "ShardedByS3Key" if channel.sharded else "FullyReplicated",
            "RecordWrapperType": "None",
            **({"ContentType": channel.content_type} if channel.content_type else {}),
        }
    return config
