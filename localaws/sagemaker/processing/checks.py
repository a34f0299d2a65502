"""Checks what CreateProcessingJob alone asks for as AWS checks it, as far as AWS documents it.

A parameter that localaws would have to ignore is refused by name.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.sagemaker.jobs.checks import check_image, refuse_unsupported
from localaws.sagemaker.processing.requests import ProcessingRequest

PROCESSING = PurePosixPath("/opt/ml/processing")
UNSUPPORTED = (
    "ExperimentConfig",
    "NetworkConfig.EnableInterContainerTrafficEncryption",
    "ProcessingResources.ClusterConfig.InstancePreferences",
)


def check_supported(parameters: Mapping[str, Any]) -> None:
    """Refuse what localaws does not carry out.

    Raises:
        ValidationError: naming the parameter.
    """
    refuse_unsupported(parameters, UNSUPPORTED, "CreateProcessingJob")
    application = parameters["AppSpecification"]
    check_image(application["ImageUri"], "processing")
    if not application.get("ContainerEntrypoint"):
        raise ValidationError(
            "localaws needs AppSpecification.ContainerEntrypoint: the images that it emulates have none for processing."
        )
    for field in ("InstanceType", "InstanceCount"):
        if not parameters["ProcessingResources"]["ClusterConfig"].get(field):
            raise ValidationError(f"ProcessingResources.ClusterConfig.{field} is missing.")
    for each in parameters.get("ProcessingInputs") or ():
        _check_input(each)
    for each in (parameters.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
        _check_output(each)


def _check_input(given: Mapping[str, Any]) -> None:
    what, source = f"ProcessingInputs {given['InputName']!r}", given.get("S3Input")
    if not source or given.get("DatasetDefinition"):
        raise ValidationError(f"{what}: localaws supports S3Input only, not DatasetDefinition.")
    if given.get("AppManaged"):
        raise ValidationError(f"{what}: localaws does not support AppManaged.")
    for field, supported in (("S3InputMode", "File"), ("S3CompressionType", "None")):
        if (source.get(field) or supported) != supported:
            raise ValidationError(f"{what}: localaws does not support {field} {source[field]!r}.")
    _check_path(what, source.get("LocalPath"))


def _check_output(given: Mapping[str, Any]) -> None:
    what, target = f"ProcessingOutputConfig.Outputs {given['OutputName']!r}", given.get("S3Output")
    if not target or given.get("FeatureStoreOutput"):
        raise ValidationError(f"{what}: localaws supports S3Output only, not FeatureStoreOutput.")
    if given.get("AppManaged"):
        raise ValidationError(f"{what}: localaws does not support AppManaged.")
    _check_path(what, target.get("LocalPath"))


def _check_path(what: str, path: str | None) -> None:
    """Check a path of the container: it "must begin with /opt/ml/processing/" (build-your-own-processing-container)."""
    if not path or PROCESSING not in PurePosixPath(path).parents or ".." in PurePosixPath(path).parts:
        raise ValidationError(f"{what}: LocalPath {path!r} is not below {PROCESSING}.")


def check_names_and_paths(request: ProcessingRequest) -> None:
    """Check that the names of inputs and outputs, and their folders, are all different.

    AWS refuses two inputs of one path with an empty message (sagemaker-python-sdk issue 4939), and a path that is an
    input's and an output's (issue 1950); its words for the latter are not known.

    Raises:
        ValidationError: two have one name or one path.
    """
    _check_different([each.name for each in request.channels], "Input names")
    _check_different([each.name for each in request.outputs], "Output names")
    paths = [str("/opt/ml" / each.folder) for each in request.channels]
    _check_different([*paths, *(str(each.local_path) for each in request.outputs)], "Local paths")
    for first, second in combinations(request.outputs, 2):
        if first.local_path in second.local_path.parents or second.local_path in first.local_path.parents:
            raise ValidationError(f"Outputs {first.name!r} and {second.name!r} lie in each other.")


def _check_different(values: Sequence[str], what: str) -> None:
    if len(set(values)) != len(values):
        raise ValidationError(f"{what} must be unique: {', '.join(values)}.")
