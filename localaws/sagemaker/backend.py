"""moto's SageMaker backend with the executing operations laid over it.

moto finds a backend's urls by the class's module and makes one instance per account and region, on first use: the class
is given moto's module and takes the place of moto's own before the first request.
"""

import contextlib
from datetime import UTC, datetime
from typing import Any, NoReturn

import moto.sagemaker.models as moto_models
from moto.sagemaker.responses import SageMakerResponse

from localaws.errors import AwsError
from localaws.sagemaker.endpoints.models import Endpoints
from localaws.sagemaker.notebooks import Notebooks
from localaws.sagemaker.processing.operations import ProcessingJobs
from localaws.sagemaker.registry.operations import install_operations
from localaws.sagemaker.registry.packages import ModelRegistry
from localaws.sagemaker.tuning.operations import TuningJobs

NOT_EXECUTED = (  # moto would show them as completed, or in service, and nothing would have run
    "create_auto_ml_job_v2",
    "create_cluster",
    "create_compilation_job",
    "create_domain",
    "create_transform_job",
    "start_pipeline_execution",
)


# The mixins keep records of their own, narrower kinds where moto's class declares its own.
class ExecutingSageMaker(  # type: ignore[misc]
    TuningJobs, ProcessingJobs, Endpoints, Notebooks, ModelRegistry, moto_models.SageMakerModelBackend
):
    """SageMaker whose jobs and endpoints run, and whose notebook instances are records."""

    __module__ = moto_models.__name__

    def _get_resource_from_arn(self, arn: str) -> Any:
        """Return the resource of an ARN, for its tags.

        Raises:
            AwsError: ValidationException, with moto's message: there is none.
        """
        found = None
        with contextlib.suppress(AttributeError, ValueError):  # of a kind that moto does not have, or of no kind
            found = super()._get_resource_from_arn(arn)
        if found is None:
            kind, _, name = arn.rpartition(":")[2].partition("/")
            raise AwsError("ValidationException", f"Could not find {kind} with name {name}")
        return found

    def list_tags(self, arn: str, **page: Any) -> tuple[list[dict[str, str]], str | None]:  # type: ignore[override]
        """Return a page of a resource's tags; those of a new one may not be shown yet."""
        created: datetime = self._get_resource_from_arn(arn).creation_time
        aware = created if created.tzinfo else created.replace(tzinfo=UTC)
        if not self.core.shows_tags(aware.timestamp()):
            return [], None
        return super().list_tags(arn=arn, **page)


def install_backend() -> None:
    """Have moto make `ExecutingSageMaker` for every account and region."""
    moto_models.sagemaker_backends.backend = ExecutingSageMaker
    install_operations()
    for operation in NOT_EXECUTED:
        setattr(SageMakerResponse, operation, _refuse)


def _refuse(_: Any) -> NoReturn:
    raise NotImplementedError  # the front answers it with an error that names the operation
