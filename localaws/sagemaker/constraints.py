"""Refuses requests that break the constraints of SageMaker's model."""

from collections.abc import Mapping
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.constraints import broken_constraints


def check_constraints(parameters: Mapping[str, Any], shape_name: str) -> None:
    """Check a request against the shape of SageMaker's model that has this name.

    Raises:
        ValidationError: it breaks one or more constraints; the message names each value and its place.
    """
    if message := broken_constraints("sagemaker", shape_name, parameters):
        raise ValidationError(message)
