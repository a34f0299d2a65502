"""The plan of an endpoint as plain data, made from a configuration and its models before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_STARTUP_SECONDS = 480  # AWS: containers have 8 minutes to answer /ping
SCALE_IN_GRACE_SECONDS = 30.0  # AWS: SIGTERM, 30 s, SIGKILL
LEAST_OUTSTANDING = "LEAST_OUTSTANDING_REQUESTS"


@dataclass(frozen=True)
class ModelPlan:
    """One container: its image, artefact (`s3://…`, or None), variables and role."""

    name: str
    image: str
    data_url: str | None
    environment: Mapping[str, str]
    role_arn: str
    has_vpc: bool = False


@dataclass(frozen=True)
class VariantPlan:
    """One variant. `startup_seconds` are emulated seconds; a shadow gets copies of requests and answers nobody."""

    name: str
    model: ModelPlan
    instance_type: str
    instance_count: int
    weight: float
    startup_seconds: float = DEFAULT_STARTUP_SECONDS
    routing: str = LEAST_OUTSTANDING
    is_shadow: bool = False


@dataclass(frozen=True)
class CapturePlan:
    """What is captured of how many requests (0 to 100 %), and where in S3 it goes: `destination` is an `s3://…`.

    Content types are in lower case; bodies of all others are kept as base64.
    """

    is_enabled: bool
    percentage: int
    destination: str
    has_input: bool
    has_output: bool
    kms_key: str | None = None
    csv_types: frozenset[str] = frozenset()
    json_types: frozenset[str] = frozenset()

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeEndpoint's DataCaptureConfigSummary."""
        return {
            "EnableCapture": self.is_enabled,
            "CaptureStatus": "Started" if self.is_enabled else "Stopped",
            "CurrentSamplingPercentage": self.percentage,
            "DestinationS3Uri": self.destination,
            "KmsKeyId": self.kms_key or "",
        }


@dataclass(frozen=True)
class DeploymentPlan:
    """Everything that one endpoint configuration asks for: its production variants, then its shadow."""

    config_name: str
    variants: tuple[VariantPlan, ...]
    capture: CapturePlan | None = None


@dataclass(frozen=True)
class VariantChange:
    """What `UpdateEndpointWeightsAndCapacities` asks of a variant; None leaves a value as it is."""

    variant: str
    weight: float | None
    instance_count: int | None
