"""moto's records of endpoints and endpoint configurations, changed where moto's own would say what is not so."""

from collections.abc import Mapping
from typing import Any

from moto.core.utils import utcnow
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig


class ServedEndpointConfig(FakeEndpointConfig):
    """moto's record without its list of instance types, which ends in 2021: requests were checked before."""

    def __init__(self, shadow_production_variants: list[dict[str, Any]], **fields: Any) -> None:
        super().__init__(**fields)
        self.shadow_production_variants = shadow_production_variants
        self.arn = self.endpoint_config_arn  # type: ignore[assignment]  # moto keeps a tuple here, which the tagging API then hands out

    def validate_instance_type(self, instance_type: str) -> None:
        """Accept what `check_endpoint_config` let through."""

    def is_created(self) -> bool:
        """Return what CloudFormation asks: a configuration is there as soon as it is made."""
        return True


class ServedEndpoint(FakeEndpoint):
    """moto's record with a status that only `set_status` changes."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(data_capture_config={}, **fields)
        self.endpoint_status = "Creating"
        self.last_deployment_config: Mapping[str, Any] | None = None

    def set_status(self, status: str, reason: str | None) -> None:
        """Show the status and FailureReason from now on."""
        self.failure_reason = reason  # type: ignore[assignment]
        self.last_modified_time = utcnow()
        self.endpoint_status = status

    def is_created(self) -> bool:
        """Return what CloudFormation asks: whether it serves."""
        return self.endpoint_status == "InService"
