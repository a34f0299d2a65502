"""Return the URIs of the AWS Deep Learning Container images for training jobs and endpoints.

These are pure functions without I/O. PyTorch 2.6 is the newest version that has both a training and an inference image
with the same Python. The accounts are those in the SageMaker SDK's image table; a test compares the two.
"""

from __future__ import annotations

from tasks.run.errors import SettingsRefused

PYTORCH_VERSION = "2.6"
PYTHON_TAG = "py312"

_COMMON_ACCOUNT = "763104351884"
_ACCOUNTS = {
    **dict.fromkeys(
        (
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
            "ca-central-1",
            "eu-central-1",
            "eu-north-1",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ),
        _COMMON_ACCOUNT,
    ),
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "me-south-1": "217643126080",
}


def image_account(region: str) -> str:
    """Return the account that owns AWS's images in a region.

    Raises:
        SettingsRefused: the account for this region is not known.
    """
    if region not in _ACCOUNTS:
        known = ", ".join(sorted(_ACCOUNTS))
        why = f"kennel does not know the account of AWS's container images there; known regions: {known}"
        raise SettingsRefused("container image", f"region {region}", why, "export AWS_REGION=us-east-1")
    return _ACCOUNTS[region]


def training_image(region: str, *, has_gpu: bool) -> str:
    """Return the URI of the PyTorch training image.

    Raises:
        SettingsRefused: the account for this region is not known.
    """
    return _image("pytorch-training", region, "gpu" if has_gpu else "cpu")


def inference_image(region: str, *, has_gpu: bool = False) -> str:
    """Return the URI of the PyTorch inference image.

    Raises:
        SettingsRefused: the account for this region is not known.
    """
    return _image("pytorch-inference", region, "gpu" if has_gpu else "cpu")


def _image(repository: str, region: str, device: str) -> str:
    host = f"{image_account(region)}.dkr.ecr.{region}.amazonaws.com"
    return f"{host}/{repository}:{PYTORCH_VERSION}-{device}-{PYTHON_TAG}"
