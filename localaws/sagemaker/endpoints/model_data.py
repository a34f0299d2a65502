"""Brings a variant's `model.tar.gz` from S3 to disk, once for all its instances."""

from pathlib import Path

from localaws.core import Core
from localaws.errors import AwsError
from localaws.permissions.roles import Role
from localaws.sagemaker.endpoints.errors import DeploymentFailed
from localaws.sagemaker.endpoints.plan import ModelPlan
from localaws.sagemaker.model_server.archive import ArchiveRefused, unpack


def fetch_model(core: Core, model: ModelPlan, folder: Path) -> Path:
    """Download and unpack the model's artefact into `folder`; return the folder that is its `/opt/ml/model`.

    Raises:
        DeploymentFailed: the object does not exist, or is not a harmless tar.
    """
    unpacked = folder / "model"
    unpacked.mkdir(parents=True)
    if model.data_url is None:
        return unpacked
    bucket, key = split_s3_url(model.data_url)
    archive = folder / "model.tar.gz"
    try:
        core.objects_of(Role(core.authority, model.role_arn, "SageMaker")).download(bucket, key, archive)
        unpack(archive, unpacked)
    except AwsError as error:
        raise DeploymentFailed(
            f'Failed to download model data for container "container_1" from URL: "{model.data_url}". Please ensure '
            "that there is an object located at the URL and that the role passed to CreateModel has permissions to "
            f"download the model. ({error})"
        ) from error
    except ArchiveRefused as error:
        raise DeploymentFailed(
            f'Failed to extract model data archive for container "container_1" from URL: "{model.data_url}". Please '
            f"ensure that the object located at the URL is a valid tar.gz archive. ({error})"
        ) from error
    finally:
        archive.unlink(missing_ok=True)
    return unpacked


def split_s3_url(url: str) -> tuple[str, str]:
    """Return bucket and key of an `s3://bucket/key`."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
