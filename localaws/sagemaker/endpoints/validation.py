"""Checks requests about models and endpoints and refuses what is not allowed or not emulated. Changes nothing."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from moto.sagemaker.exceptions import AWSValidationException

from localaws.sagemaker.endpoints.capture_config import check_capture
from localaws.violations import one_violation

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
IMAGE = re.compile(r".+/(pytorch-inference|kennel-serving)(:|@).+")
MAX_VARIANTS = 10

MODEL_PARAMETERS = frozenset({"ModelName", "PrimaryContainer", "Containers", "ExecutionRoleArn", "Tags", "VpcConfig"})
CONTAINER_PARAMETERS = frozenset(
    {"ContainerHostname", "Image", "Mode", "ModelDataUrl", "ModelDataSource", "Environment"}
)
CONFIG_PARAMETERS = frozenset(
    {"EndpointConfigName", "ProductionVariants", "ShadowProductionVariants", "DataCaptureConfig", "Tags", "KmsKeyId"}
)
VARIANT_PARAMETERS = frozenset(
    {
        "VariantName",
        "ModelName",
        "InitialInstanceCount",
        "InstanceType",
        "InitialVariantWeight",
        "VolumeSizeInGB",
        "ModelDataDownloadTimeoutInSeconds",
        "ContainerStartupHealthCheckTimeoutInSeconds",
        "RoutingConfig",
    }
)
ENDPOINT_PARAMETERS = frozenset({"EndpointName", "EndpointConfigName", "Tags", "DeploymentConfig"})
UPDATE_PARAMETERS = frozenset(
    {
        "EndpointName",
        "EndpointConfigName",
        "RetainAllVariantProperties",
        "ExcludeRetainedVariantProperties",
        "DeploymentConfig",
        "RetainDeploymentConfig",
    }
)
CHANGE_PARAMETERS = frozenset({"VariantName", "DesiredWeight", "DesiredInstanceCount"})


def refuse_unsupported(given: Mapping[str, Any], supported: frozenset[str], where: str) -> None:
    """Refuse parameters that would have no effect here; empty and false ones have none on AWS either.

    Raises:
        AWSValidationException: naming the parameters.
    """
    unsupported = sorted(name for name, value in given.items() if value and name not in supported)
    if unsupported:
        raise AWSValidationException(f"{where}: {', '.join(unsupported)} not supported by localaws.")


def check_name(value: Any, field: str) -> None:
    """Refuse a name that AWS refuses.

    Raises:
        AWSValidationException: it is empty, longer than 63 characters or has others than letters, digits and hyphens.
    """
    if not (isinstance(value, str) and len(value) <= 63 and NAME.fullmatch(value)):
        raise AWSValidationException(
            one_violation(value, field, f"Member must satisfy regular expression pattern: ^{NAME.pattern}")
        )


def check_model(
    parameters: Mapping[str, Any], packaged: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
) -> dict[str, Any]:
    """Return the one container of a CreateModel request; `packaged` puts a model package's container into it.

    Raises:
        AWSValidationException: no container, several, an image that localaws does not run, or an unsupported parameter.
    """
    check_name(parameters.get("ModelName"), "modelName")
    refuse_unsupported(parameters, MODEL_PARAMETERS, "CreateModel")
    containers = [parameters["PrimaryContainer"]] if parameters.get("PrimaryContainer") else []
    containers += parameters.get("Containers") or []
    if len(containers) != 1:
        raise AWSValidationException(
            f"CreateModel: {len(containers)} containers given; localaws supports exactly one, in PrimaryContainer or "
            "Containers."
        )
    container = packaged(containers[0])
    refuse_unsupported(container, CONTAINER_PARAMETERS, "CreateModel: container")
    _check_image(container.get("Image"))
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise AWSValidationException(f"CreateModel: Mode {container['Mode']} not supported by localaws.")
    model_data_url(container)
    submitted = (container.get("Environment") or {}).get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    if submitted.startswith("s3://"):
        raise AWSValidationException(
            f"CreateModel: SAGEMAKER_SUBMIT_DIRECTORY {submitted} not supported by localaws: put the code into "
            "model.tar.gz."
        )
    return container


def model_data_url(container: Mapping[str, Any]) -> str | None:
    """Return the `s3://` address of a container's artefact, or None.

    Raises:
        AWSValidationException: it is not in S3, or not one compressed object.
    """
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source and (source.get("S3DataType"), source.get("CompressionType")) != ("S3Object", "Gzip"):
        raise AWSValidationException(
            f"CreateModel: S3DataSource of S3DataType {source.get('S3DataType')} and CompressionType "
            f"{source.get('CompressionType')} not supported by localaws, only S3Object and Gzip."
        )
    url: str | None = source["S3Uri"] if source else container.get("ModelDataUrl")
    if url and not re.fullmatch(r"s3://[^/]+/.+", url):
        raise AWSValidationException(f"CreateModel: ModelDataUrl {url} is not of the form s3://bucket/key.")
    return url or None


def check_endpoint_config(parameters: Mapping[str, Any]) -> None:
    """Refuse a CreateEndpointConfig request that AWS refuses or localaws cannot run.

    Raises:
        AWSValidationException: as said, naming what.
    """
    check_name(parameters.get("EndpointConfigName"), "endpointConfigName")
    refuse_unsupported(parameters, CONFIG_PARAMETERS, "CreateEndpointConfig")
    check_capture(parameters.get("DataCaptureConfig") or {})
    variants = parameters.get("ProductionVariants") or []
    if not 1 <= len(variants) <= MAX_VARIANTS:
        raise AWSValidationException(
            f"1 validation error detected: Value at 'productionVariants' failed to satisfy constraint: Member must "
            f"have length 1 to {MAX_VARIANTS}, it has {len(variants)}"
        )
    shadows = parameters.get("ShadowProductionVariants") or []
    for variant in (*variants, *shadows):
        _check_variant(variant)
    _refuse_twins([variant["VariantName"] for variant in (*variants, *shadows)])
    if shadows:
        _check_shadows(variants, shadows)


def check_changes(changes: Sequence[Mapping[str, Any]], known: Iterable[str], config_name: str) -> None:
    """Refuse UpdateEndpointWeightsAndCapacities changes of unknown variants, of one twice, or to no instance.

    Raises:
        AWSValidationException: as said, naming the variant.
    """
    names = [change.get("VariantName", "") for change in changes]
    _refuse_twins(names)
    for change in changes:
        refuse_unsupported(change, CHANGE_PARAMETERS, "UpdateEndpointWeightsAndCapacities")
        if change["VariantName"] not in known:
            raise AWSValidationException(
                f'The variant name(s) "{change["VariantName"]}" is/are not present within endpoint configuration '
                f'"{config_name}".'
            )
        count = change.get("DesiredInstanceCount")
        if count is not None and count < 1:
            raise AWSValidationException(
                one_violation(count, "desiredInstanceCount", "Member must have value greater than or equal to 1")
            )


def _check_variant(variant: Mapping[str, Any]) -> None:
    check_name(variant.get("VariantName"), "productionVariants.member.variantName")
    refuse_unsupported(variant, VARIANT_PARAMETERS, "CreateEndpointConfig: ProductionVariants")
    routing = variant.get("RoutingConfig") or {}
    if routing.get("RoutingStrategy", "RANDOM") not in {"RANDOM", "LEAST_OUTSTANDING_REQUESTS"}:
        raise AWSValidationException(
            f"CreateEndpointConfig: RoutingStrategy {routing['RoutingStrategy']} not supported by localaws."
        )
    instance_type = variant.get("InstanceType")
    if instance_type not in instance_types():
        raise AWSValidationException(
            one_violation(
                instance_type,
                "productionVariants.1.member.instanceType",
                "Member must satisfy enum value set of ProductionVariantInstanceType",
            )
        )
    if variant.get("InitialInstanceCount", 0) < 1:
        raise AWSValidationException(
            one_violation(
                variant.get("InitialInstanceCount"),
                "productionVariants.1.member.initialInstanceCount",
                "Member must have value greater than or equal to 1",
            )
        )


def _check_shadows(variants: Sequence[Mapping[str, Any]], shadows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what AWS does not allow with a shadow variant: botocore's model of ShadowProductionVariants, and
    docs.aws.amazon.com/sagemaker/latest/dg/shadow-tests-exclusions.html. The words are ours.
    """
    if len(variants) != 1 or len(shadows) != 1:
        raise AWSValidationException(
            "CreateEndpointConfig: with ShadowProductionVariants exactly one variant is allowed in ProductionVariants "
            f"and one in ShadowProductionVariants; given were {len(variants)} and {len(shadows)}."
        )
    for variant in (*variants, *shadows):
        if variant["InstanceType"].startswith("ml.inf1."):
            raise AWSValidationException(
                f"CreateEndpointConfig: ShadowProductionVariants do not go with InstanceType "
                f"{variant['InstanceType']} of variant {variant['VariantName']}."
            )


def _check_image(image: Any) -> None:
    if not image:
        raise AWSValidationException("CreateModel: Image of the container is missing.")
    if not IMAGE.fullmatch(image):
        raise AWSValidationException(
            f"Requested image {image} not found: localaws runs images named …/pytorch-inference:TAG and "
            "…/kennel-serving:TAG."
        )


def _refuse_twins(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise AWSValidationException(f'The variant name "{name}" was non-unique within the request.')


@cache
def instance_types() -> frozenset[str]:
    """Return the instance types that botocore's model of SageMaker knows for hosting."""
    from botocore.session import Session

    shape = Session().get_service_model("sagemaker").shape_for("ProductionVariantInstanceType")
    return frozenset(shape.enum)
