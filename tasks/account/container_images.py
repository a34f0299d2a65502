"""Return the URIs of AWS's PyTorch images for training jobs and endpoints, by the SageMaker SDK's own tables.

The SDK's tables say for each version which account has it in a region; nothing here calls AWS, and the SDK itself is
not imported. Ends of patch are from aws/deep-learning-containers (docs/src/data).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from tasks.run.errors import SettingsRefused
from tasks.run.partitions import dns_suffix
from tasks.run.sealed import parse_json
from tasks.run.settings import Settings

_TABLES = "sagemaker/core/image_uri_config"


@dataclass(frozen=True)
class Release:
    """A version of an image in the SDK's tables: the table's file, the section in it, the version; its last patches."""

    table: str
    scope: str
    version: str
    patched_until: date

    @functools.cached_property
    def row(self) -> dict[str, Any]:
        """The version's row: its accounts by region, its repository, and what its tag is made of."""
        path = Path(str(distribution("sagemaker-core").locate_file(f"{_TABLES}/{self.table}.json")))
        row: dict[str, Any] = parse_json(path.read_bytes())[self.scope]["versions"][self.version]
        return row

    def tag(self, *, has_gpu: bool) -> str:
        """Return the image's tag, such as "2.13-cpu-amzn2023-sagemaker" or "2.6.0-gpu-py312"."""
        device = "gpu" if has_gpu else "cpu"
        if "container_version" in self.row:
            return f"{self.row['tag_prefix']}-{self.row['container_version'][device]}"
        return f"{self.version}-{device}-{self.row['py_versions'][0]}"

    def uri(self, region: str, *, has_gpu: bool) -> str:
        """Return the image's URI in a region.

        Raises:
            SettingsRefused: AWS does not have the image there.
        """
        accounts: dict[str, str] = self.row["registries"]
        if region not in accounts:
            what = f"AWS has no image {self.row['repository']}:{self.tag(has_gpu=has_gpu)} in region {region}"
            why = f"the SageMaker SDK's table names these regions: {', '.join(sorted(accounts))}"
            raise SettingsRefused("container image", what, why, "export AWS_REGION=us-east-1")
        host = f"{accounts[region]}.dkr.ecr.{region}.{dns_suffix(region)}"
        return f"{host}/{self.row['repository']}:{self.tag(has_gpu=has_gpu)}"


TRAINING = Release("pytorch-amzn2023", "training", "2.13", date(2027, 7, 20))
"""PyTorch 2.13 and Python 3.12 on Amazon Linux 2023: the torch and torchvision of requirements.lock."""
INFERENCE = Release("pytorch", "inference", "2.6.0", date(2026, 6, 30))
"""The last image of AWS's with a model server (TorchServe), with Python 3.12."""


def training_image(region: str, *, has_gpu: bool) -> str:
    """Return the URI of the PyTorch training image.

    Raises:
        SettingsRefused: AWS does not have it in this region.
    """
    return TRAINING.uri(region, has_gpu=has_gpu)


def inference_image(settings: Settings, *, has_gpu: bool = False) -> str:
    """Return the URI of the image that serves: the setting `serving_image`, or AWS's PyTorch inference image.

    Raises:
        SettingsRefused: AWS does not have its image in this region.
    """
    return settings.serving_image or INFERENCE.uri(settings.region, has_gpu=has_gpu)


def require_images(settings: Settings) -> None:
    """Return if the region has the images that a run needs; this is asked before anything is uploaded.

    Raises:
        SettingsRefused: AWS does not have one of them in this region.
    """
    training_image(settings.region, has_gpu=False)
    inference_image(settings)
