"""The plan of an endpoint as plain data, made from a configuration and its models before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass

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
    """One production variant. `startup_seconds` are emulated seconds."""

    name: str
    model: ModelPlan
    instance_type: str
    instance_count: int
    weight: float
    startup_seconds: float = DEFAULT_STARTUP_SECONDS
    routing: str = LEAST_OUTSTANDING


@dataclass(frozen=True)
class DeploymentPlan:
    """Everything that one endpoint configuration asks for."""

    config_name: str
    variants: tuple[VariantPlan, ...]


@dataclass(frozen=True)
class VariantChange:
    """What `UpdateEndpointWeightsAndCapacities` asks of a variant; None leaves a value as it is."""

    variant: str
    weight: float | None
    instance_count: int | None
