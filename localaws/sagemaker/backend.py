"""moto's SageMaker backend with the executing operations laid over it.

moto finds a backend's urls by the class's module and makes one instance per account and region, on first use: the class
is given moto's module and takes the place of moto's own before the first request.
"""

import moto.sagemaker.models as moto_models

from localaws.sagemaker.endpoints import Endpoints
from localaws.sagemaker.training_jobs import TrainingJobs


# The mixins keep records of their own, narrower kinds where moto's class declares its own.
class ExecutingSageMaker(TrainingJobs, Endpoints, moto_models.SageMakerModelBackend):  # type: ignore[misc]
    """SageMaker whose training jobs and endpoints run."""

    __module__ = moto_models.__name__


def install_backend() -> None:
    """Have moto make `ExecutingSageMaker` for every account and region."""
    moto_models.sagemaker_backends.backend = ExecutingSageMaker
