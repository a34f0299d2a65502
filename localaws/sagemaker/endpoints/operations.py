"""The operations on models and endpoints on the wire, added to moto's SageMaker response class.

They read whole requests, so that a parameter without effect is refused by name; moto's own read only what they know.
"""

from typing import Any

from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.responses import SageMakerResponse

from localaws.paging import page_of
from localaws.sagemaker.endpoints.validation import (
    ENDPOINT_PARAMETERS,
    UPDATE_PARAMETERS,
    check_changes,
    check_endpoint_config,
    check_model,
    check_name,
    refuse_unsupported,
)

LIST_PAGE = 100


def create_model(self: Any) -> Any:
    """CreateModel."""
    parameters = self._get_params()
    container = check_model(parameters, self.sagemaker_backend.packaged_container)
    model = self.sagemaker_backend.create_model(
        container=container,
        model_name=parameters["ModelName"],
        execution_role_arn=parameters.get("ExecutionRoleArn"),
        primary_container=parameters.get("PrimaryContainer"),
        vpc_config=parameters.get("VpcConfig"),
        containers=parameters.get("Containers"),
        tags=parameters.get("Tags"),
    )
    return ActionResult(model.response_create)


def list_models(self: Any) -> Any:
    """ListModels: filters, order and pages."""
    wanted = self._get_params()
    models = [model for model in self.sagemaker_backend.list_models() if _is_listed(model, wanted)]
    models.sort(
        key=lambda model: model.model_name if wanted.get("SortBy") == "Name" else model.creation_time,
        reverse=wanted.get("SortOrder", "Descending") == "Descending",
    )
    page, token = page_of(models, wanted.get("NextToken"), wanted.get("MaxResults") or LIST_PAGE, service="sagemaker")
    listed = [
        {"ModelName": model.model_name, "ModelArn": model.arn, "CreationTime": model.creation_time} for model in page
    ]
    return ActionResult({"Models": listed, "NextToken": token})


def create_endpoint_config(self: Any) -> Any:
    """CreateEndpointConfig."""
    parameters = self._get_params()
    check_endpoint_config(parameters)
    config = self.sagemaker_backend.create_endpoint_config(
        endpoint_config_name=parameters["EndpointConfigName"],
        production_variants=parameters["ProductionVariants"],
        shadow_production_variants=parameters.get("ShadowProductionVariants") or [],
        data_capture_config=parameters.get("DataCaptureConfig"),
        async_inference_config=None,
        tags=parameters.get("Tags"),
        kms_key_id=parameters.get("KmsKeyId"),
    )
    return ActionResult({"EndpointConfigArn": config.endpoint_config_arn})


def create_endpoint(self: Any) -> Any:
    """CreateEndpoint."""
    parameters = self._get_params()
    check_name(parameters.get("EndpointName"), "endpointName")
    refuse_unsupported(parameters, ENDPOINT_PARAMETERS, "CreateEndpoint")
    endpoint = self.sagemaker_backend.create_endpoint(
        endpoint_name=parameters["EndpointName"],
        endpoint_config_name=parameters["EndpointConfigName"],
        tags=parameters.get("Tags"),
        deployment_config=parameters.get("DeploymentConfig"),
    )
    return ActionResult({"EndpointArn": endpoint.arn})


def update_endpoint(self: Any) -> Any:
    """UpdateEndpoint, which moto lacks."""
    parameters = self._get_params()
    refuse_unsupported(parameters, UPDATE_PARAMETERS, "UpdateEndpoint")
    deployment_config = parameters.get("DeploymentConfig")
    if parameters.get("RetainDeploymentConfig"):
        if deployment_config:
            raise AWSValidationException(
                "UpdateEndpoint: RetainDeploymentConfig and DeploymentConfig were both given. Give one of them."
            )
        deployment_config = self.sagemaker_backend.find_endpoint(parameters["EndpointName"]).last_deployment_config
    excluded = parameters.get("ExcludeRetainedVariantProperties") or []
    endpoint = self.sagemaker_backend.update_endpoint(
        endpoint_name=parameters["EndpointName"],
        endpoint_config_name=parameters["EndpointConfigName"],
        retain=bool(parameters.get("RetainAllVariantProperties")),
        without=frozenset(row["VariantPropertyType"] for row in excluded),
        deployment_config=deployment_config,
    )
    return ActionResult({"EndpointArn": endpoint.arn})


def update_endpoint_weights_and_capacities(self: Any) -> Any:
    """UpdateEndpointWeightsAndCapacities."""
    parameters = self._get_params()
    backend = self.sagemaker_backend
    endpoint = backend.find_endpoint(parameters["EndpointName"])
    changes = parameters["DesiredWeightsAndCapacities"]
    known = {variant.plan.name for variant in backend.hosting.variants(endpoint.endpoint_name)}
    check_changes(changes, known, endpoint.endpoint_config_name)
    arn = backend.update_endpoint_weights_and_capacities(
        endpoint_name=endpoint.endpoint_name, desired_weights_and_capacities=changes
    )
    return ActionResult({"EndpointArn": arn})


OPERATIONS = (
    create_model,
    list_models,
    create_endpoint_config,
    create_endpoint,
    update_endpoint,
    update_endpoint_weights_and_capacities,
)


def install_operations() -> None:
    """Have moto dispatch to these."""
    for operation in OPERATIONS:
        setattr(SageMakerResponse, operation.__name__, operation)


def _is_listed(model: Any, wanted: dict[str, Any]) -> bool:
    after, before = wanted.get("CreationTimeAfter"), wanted.get("CreationTimeBefore")
    created = model.creation_time
    return (
        (wanted.get("NameContains") or "") in model.model_name
        and (after is None or created > after.replace(tzinfo=created.tzinfo))
        and (before is None or created < before.replace(tzinfo=created.tzinfo))
    )
