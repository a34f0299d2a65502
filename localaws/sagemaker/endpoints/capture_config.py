"""Reads the DataCaptureConfig of CreateEndpointConfig: refuses what localaws cannot do, makes a plan of the rest."""

import re
from collections.abc import Mapping
from typing import Any

from moto.sagemaker.exceptions import AWSValidationException

from localaws.sagemaker.endpoints.plan import CapturePlan

BOTH = "InputAndOutput"


def check_capture(config: Mapping[str, Any]) -> None:
    """Refuse a DataCaptureConfig whose destination is not in S3; its shape has been checked by botocore's model.

    Raises:
        AWSValidationException: as said, naming the destination.
    """
    destination = config.get("DestinationS3Uri", "")
    if config and not re.fullmatch(r"s3://[^/]+(/.*)?", destination):
        raise AWSValidationException(
            f"CreateEndpointConfig: DestinationS3Uri {destination} not supported by localaws, only s3://bucket/prefix."
        )


def capture_plan(config: Mapping[str, Any]) -> CapturePlan | None:
    """Return what a DataCaptureConfig asks for; None without one. `EnableCapture` is true unless it is false."""
    if not config:
        return None
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    types = config.get("CaptureContentTypeHeader") or {}
    return CapturePlan(
        is_enabled=config.get("EnableCapture") is not False,
        percentage=config["InitialSamplingPercentage"],
        destination=config["DestinationS3Uri"],
        has_input=bool(modes & {"Input", BOTH}),
        has_output=bool(modes & {"Output", BOTH}),
        kms_key=config.get("KmsKeyId") or None,
        csv_types=_lower(types.get("CsvContentTypes")),
        json_types=_lower(types.get("JsonContentTypes")),
    )


def _lower(names: list[str] | None) -> frozenset[str]:
    return frozenset(name.lower() for name in names or ())
