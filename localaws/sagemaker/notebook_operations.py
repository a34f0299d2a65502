"""SageMaker's notebook operations on the wire; a parameter that would have no effect is refused by name."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from localaws.core import Core
from localaws.paging import page_of
from localaws.sagemaker.notebooks import Notebooks

LIST_PAGE = 10
UNSUPPORTED = (
    "AcceleratorTypes",
    "AdditionalCodeRepositories",
    "DefaultCodeRepository",
    "DisassociateAcceleratorTypes",
    "DisassociateAdditionalCodeRepositories",
    "DisassociateDefaultCodeRepository",
    "DisassociateLifecycleConfig",
    "IpAddressType",
    "KmsKeyId",
    "SecurityGroupIds",
    "SubnetId",
)
CHANGEABLE = ("InstanceType", "PlatformIdentifier", "RoleArn", "RootAccess", "VolumeSizeInGB")


def create_notebook_instance(response: Any) -> ActionResult:
    """CreateNotebookInstance."""
    parameters = _checked(response, "CreateNotebookInstance")
    if parameters.get("DirectInternetAccess") == "Disabled":
        raise ValidationError(
            message="CreateNotebookInstance: a network without internet is not supported by localaws."
        )
    return ActionResult({"NotebookInstanceArn": response.sagemaker_backend.make_notebook_instance(parameters).arn})


def update_notebook_instance(response: Any) -> ActionResult:
    """UpdateNotebookInstance, which moto lacks."""
    parameters = _checked(response, "UpdateNotebookInstance")
    names = (*CHANGEABLE, "LifecycleConfigName", "InstanceMetadataServiceConfiguration")
    changes = {name: parameters[name] for name in names if parameters.get(name) is not None}
    response.sagemaker_backend.update_notebook_instance(parameters["NotebookInstanceName"], changes)
    return EmptyResult()


def create_notebook_instance_lifecycle_config(response: Any) -> ActionResult:
    """CreateNotebookInstanceLifecycleConfig."""
    parameters = _checked(response, "CreateNotebookInstanceLifecycleConfig")
    _check_scripts(parameters)
    config = response.sagemaker_backend.make_lifecycle_config(parameters)
    return ActionResult({"NotebookInstanceLifecycleConfigArn": config.arn})


def update_notebook_instance_lifecycle_config(response: Any) -> ActionResult:
    """UpdateNotebookInstanceLifecycleConfig, which moto lacks."""
    parameters = _checked(response, "UpdateNotebookInstanceLifecycleConfig")
    _check_scripts(parameters)
    response.sagemaker_backend.update_lifecycle_config(parameters)
    return EmptyResult()


def list_notebook_instance_lifecycle_configs(response: Any) -> ActionResult:
    """ListNotebookInstanceLifecycleConfigs, which moto lacks: those whose name contains a text, by name, in pages."""
    parameters = _checked(response, "ListNotebookInstanceLifecycleConfigs")
    configs = response.sagemaker_backend.notebook_instance_lifecycle_configurations
    names = sorted(name for name in list(configs) if (parameters.get("NameContains") or "") in name)
    page, token = page_of(
        names, parameters.get("NextToken"), parameters.get("MaxResults") or LIST_PAGE, service="sagemaker"
    )
    listed = [
        {
            "NotebookInstanceLifecycleConfigName": name,
            "NotebookInstanceLifecycleConfigArn": configs[name].arn,
            "CreationTime": configs[name].creation_time,
            "LastModifiedTime": configs[name].last_modified_time,
        }
        for name in page
    ]
    more = {"NextToken": token} if token else {}
    return ActionResult({"NotebookInstanceLifecycleConfigs": listed, **more})


OPERATIONS = (
    create_notebook_instance,
    update_notebook_instance,
    create_notebook_instance_lifecycle_config,
    update_notebook_instance_lifecycle_config,
    list_notebook_instance_lifecycle_configs,
)


def install_notebooks(core: Core) -> None:
    """Have moto dispatch to these."""
    Notebooks.core = core
    for operation in OPERATIONS:
        setattr(SageMakerResponse, operation.__name__, operation)


def _checked(response: Any, operation: str) -> dict[str, Any]:
    """Return the parameters that were given.

    Raises:
        ValidationError: one of them would have no effect here.
    """
    parameters = {name: value for name, value in response._get_params().items() if value is not None}
    unsupported = [name for name in UNSUPPORTED if parameters.get(name)]
    if unsupported:
        raise ValidationError(message=f"{operation}: {', '.join(unsupported)} not supported by localaws.")
    return parameters


def _check_scripts(parameters: Mapping[str, Any]) -> None:
    for hook in ("OnCreate", "OnStart"):
        for script in parameters.get(hook) or []:
            try:
                base64.b64decode(script.get("Content") or "", validate=True)
            except binascii.Error as error:
                raise ValidationError(message=f"{hook}: Content is not valid base64: {error}") from error
