"""What can be scaled: the instance count of an endpoint variant, and a function's provisioned concurrency.

Another kind of resource would be one more class here. Each class checks what is registered, reads and sets the capacity
through the resource's own service, and knows the metrics that policies may name.
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from localaws.core import Core
from localaws.errors import AwsError

BURSTABLE = re.compile(r"ml\.t\d")
SETTLE_POLL_SECONDS = 0.05
SETTLE_SECONDS = 600.0  # real: longer than environments of any size take to start

Ended = Callable[[str | None], None]  # why a change failed, None if it did not


@dataclass(frozen=True)
class Capacity:
    """What was asked for last, and whether the service is at work on the resource and takes no other change."""

    desired: int
    is_changing: bool


@dataclass(frozen=True)
class TrackedMetric:
    """What target tracking watches. `out_period`: of the alarm that scales out, in emulated seconds."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str
    unit: str | None = None
    out_period: int = 60


class Scalable(Protocol):
    """One scalable dimension of a service."""

    dimension: str
    noun: str  # what is set, in the words of scaling activities
    default_cooldown: int  # emulated seconds
    least_capacity: int
    service_role: str

    def check(self, resource_id: str) -> None:
        """Refuse what may not be registered.

        Raises:
            AwsError: there is no such resource, or it cannot be scaled.
        """

    def get_capacity(self, resource_id: str) -> Capacity:
        """Return the capacity.

        Raises:
            AwsError: there is no such resource.
        """

    def set_capacity(self, resource_id: str, capacity: int, ended: Ended) -> None:
        """Ask for a capacity; `ended` is told, from another thread, when it is there or has failed.

        Raises:
            AwsError: the service refuses it.
        """

    def metric(self, predefined: str, resource_id: str) -> TrackedMetric | None:
        """Return a predefined metric of the resource, None if there is none of that name."""


class VariantCount:
    """`sagemaker:variant:DesiredInstanceCount`, with resource ids `endpoint/NAME/variant/NAME`."""

    dimension = "sagemaker:variant:DesiredInstanceCount"
    noun = "desired instance count"
    default_cooldown = 300
    least_capacity = 1
    service_role = (
        "sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    )
    _id = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")

    def __init__(self, core: Core) -> None:
        self._settings = core.settings

    def check(self, resource_id: str) -> None:
        """Refuse a variant that does not exist, whose endpoint is not in service, or whose instances are burstable."""
        endpoint_name, variant_name = self._names(resource_id)
        endpoint = self._endpoint(endpoint_name)
        if endpoint.endpoint_status != "InService":
            raise _invalid(
                f'Endpoint "{endpoint.arn}" has status {endpoint.endpoint_status}: only variants of endpoints that are '
                "InService can be registered."
            )
        instance_type = self._variant(endpoint_name, variant_name).plan.instance_type
        if BURSTABLE.match(instance_type):
            raise _invalid(
                f"Auto scaling is not supported for burstable performance instances: variant {variant_name} of "
                f"endpoint {endpoint_name} has instance type {instance_type}."
            )

    def get_capacity(self, resource_id: str) -> Capacity:
        """Return the variant's desired count."""
        endpoint_name, variant_name = self._names(resource_id)
        status = self._endpoint(endpoint_name).endpoint_status
        return Capacity(self._variant(endpoint_name, variant_name).desired_count, status != "InService")

    def set_capacity(self, resource_id: str, capacity: int, ended: Ended) -> None:
        """Scale as UpdateEndpointWeightsAndCapacities does."""
        from moto.sagemaker.exceptions import AWSValidationException

        try:
            self._backend().set_instance_count(*self._names(resource_id), capacity, ended)
        except (AWSValidationException, AwsError) as error:
            raise _invalid(str(error.message)) from error

    def metric(self, predefined: str, resource_id: str) -> TrackedMetric | None:
        """Return the requests per instance and minute, or the concurrent requests, of the variant."""
        endpoint_name, variant_name = self._names(resource_id)
        dimensions = {"EndpointName": endpoint_name, "VariantName": variant_name}
        metrics = {
            "SageMakerVariantInvocationsPerInstance": TrackedMetric(
                "AWS/SageMaker", "InvocationsPerInstance", dimensions, "Sum"
            ),
            "SageMakerVariantConcurrentRequestsPerModelHighResolution": TrackedMetric(
                "AWS/SageMaker", "ConcurrentRequestsPerModel", dimensions, "Maximum", out_period=10
            ),
        }
        return metrics.get(predefined)

    def _names(self, resource_id: str) -> tuple[str, str]:
        found = self._id.fullmatch(resource_id)
        if found is None:
            raise _invalid(f"ResourceId {resource_id!r} is not that of a variant: endpoint/NAME/variant/NAME.")
        return found[1], found[2]

    def _endpoint(self, name: str) -> Any:
        from moto.sagemaker.exceptions import AWSValidationException

        try:
            return self._backend().find_endpoint(name)
        except AWSValidationException as error:
            raise _invalid(str(error.message)) from error

    def _variant(self, endpoint_name: str, variant_name: str) -> Any:
        variant = self._backend().hosting.variant(endpoint_name, variant_name)
        if variant is None:
            raise _invalid(f'Could not find variant "{variant_name}" of endpoint "{endpoint_name}".')
        return variant

    def _backend(self) -> Any:
        from moto.sagemaker.models import sagemaker_backends

        return sagemaker_backends[self._settings.account_id][self._settings.region]


class ProvisionedState(Protocol):
    """What Lambda says of an allocation: IN_PROGRESS, READY or FAILED, with its reason."""

    @property
    def status(self) -> str:
        """Where it is."""

    @property
    def reason(self) -> str | None:
        """Why it failed."""


class Provisioning(Protocol):
    """Lambda's side of it; every call may raise `AwsError`."""

    def get_capacity(self, resource_id: str) -> int:
        """Return how many executions are asked to be provisioned."""

    def get_state(self, resource_id: str) -> ProvisionedState | None:
        """Return what there is, None if nothing is provisioned."""

    def set_capacity(self, resource_id: str, executions: int) -> None:
        """Have so many provisioned; environments start in the background."""


class ProvisionedConcurrency:
    """`lambda:function:ProvisionedConcurrency`, with resource ids `function:NAME:ALIAS-or-VERSION`."""

    dimension = "lambda:function:ProvisionedConcurrency"
    noun = "provisioned concurrency"
    default_cooldown = 0
    least_capacity = 0
    service_role = (
        "lambda.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency"
    )

    def __init__(self, provisioning: Provisioning) -> None:
        self._provisioning = provisioning

    def check(self, resource_id: str) -> None:
        """Refuse a version or alias that does not exist."""
        self._provisioning.get_capacity(resource_id)

    def get_capacity(self, resource_id: str) -> Capacity:
        """Return what is asked to be provisioned."""
        state = self._provisioning.get_state(resource_id)
        return Capacity(
            self._provisioning.get_capacity(resource_id), state is not None and state.status == "IN_PROGRESS"
        )

    def set_capacity(self, resource_id: str, capacity: int, ended: Ended) -> None:
        """Provision, and watch until the environments are ready."""
        self._provisioning.set_capacity(resource_id, capacity)
        arguments = (resource_id, ended)
        threading.Thread(target=self._settle, args=arguments, name=f"provision {resource_id}", daemon=True).start()

    def metric(self, predefined: str, resource_id: str) -> TrackedMetric | None:
        """Return the share of the provisioned executions that is in use."""
        if predefined != "LambdaProvisionedConcurrencyUtilization":
            return None
        _, name, qualifier = resource_id.split(":")
        dimensions = {"FunctionName": name, "Resource": f"{name}:{qualifier}"}
        return TrackedMetric("AWS/Lambda", "ProvisionedConcurrencyUtilization", dimensions, "Average")

    def _settle(self, resource_id: str, ended: Ended) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            try:
                state = self._provisioning.get_state(resource_id)
            except AwsError as error:
                return ended(error.message)
            if state is None or state.status != "IN_PROGRESS":
                return ended(state.reason or "Lambda gave no reason." if state and state.status == "FAILED" else None)
            time.sleep(SETTLE_POLL_SECONDS)
        return ended(f"it is still in progress after {SETTLE_SECONDS:.0f} s.")


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
