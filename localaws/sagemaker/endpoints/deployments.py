"""One deployment of an endpoint: the model files and fleets of one endpoint configuration, on disk and running."""

import math
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localaws.core import Core
from localaws.partition import partition
from localaws.permissions.roles import LogsOfRole, Role
from localaws.sagemaker.endpoints.capture import FLUSH_SECONDS, SHORTEST_FLUSH_SECONDS, Capture
from localaws.sagemaker.endpoints.errors import DeploymentFailed
from localaws.sagemaker.endpoints.fleets import Fence, Fleet
from localaws.sagemaker.endpoints.instances import Launch
from localaws.sagemaker.endpoints.metrics import VariantMetrics
from localaws.sagemaker.endpoints.model_data import fetch_model
from localaws.sagemaker.endpoints.plan import CapturePlan, DeploymentPlan, ModelPlan, VariantPlan
from localaws.sagemaker.endpoints.router import EndpointRoute, ShadowRoute, VariantRoute
from localaws.sagemaker.endpoints.shadows import Copies
from localaws.vpc import NO_INTERFACE, OF_SAGEMAKER, may_join


@dataclass(frozen=True)
class VariantStatus:
    """What is being done to a variant: `status` and `message` as in AWS's ProductionVariantStatus."""

    status: str
    message: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeEndpoint's ProductionVariantStatus."""
        return {"Status": self.status, "StatusMessage": self.message, "StartTime": self.started}


class Variant:
    """A variant that runs. `desired_count` is what was asked for, the fleet has what there is.

    `reserved_count`: how many instances count against the account's quota, if not `desired_count`; `active_count`: how
    many take requests while an update shifts traffic, None outside of one; `status`: what is being done to it, if
    anything is.
    """

    def __init__(self, plan: VariantPlan, fleet: Fleet, metrics: VariantMetrics) -> None:
        self.plan = plan
        self.fleet = fleet
        self.metrics = metrics
        self.weight = plan.weight
        self.desired_count = plan.instance_count
        self.copies = Copies(self.tell_of_requests)  # of requests, for a shadow variant
        self.capture: Capture | None = None
        self.reserved_count: int | None = None
        self.active_count: int | None = None
        self.status: VariantStatus | None = None

    @property
    def counted(self) -> int:
        """How many instances count against the account's quota."""
        return self.desired_count if self.reserved_count is None else self.reserved_count

    def tell_of_requests(self, line: str) -> None:
        """Write a line about its requests to the endpoint's log, in a stream of its own."""
        launch = self.fleet.launch
        launch.logs.write(launch.log_group, f"{self.plan.name}/data-log", [line])

    def describe(self) -> dict[str, Any]:
        """Return the variant as DescribeEndpoint's ProductionVariantSummary."""
        return {
            "VariantName": self.plan.name,
            "DeployedImages": [{"SpecifiedImage": self.plan.model.image}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": len(self.fleet.serving),
            "DesiredInstanceCount": self.desired_count,
            **({"VariantStatus": [self.status.describe()]} if self.status else {}),
        }

    def describe_pending(self) -> dict[str, Any]:
        """Return the variant of a deployment in progress as DescribeEndpoint's PendingProductionVariantSummary."""
        taking = len(self.fleet.serving[: self.active_count]) if self.active_count else 0
        return {**self.describe(), "InstanceType": self.plan.instance_type, "CurrentInstanceCount": taking}

    def tell(self, status: str | None, message: str = "") -> None:
        """Have DescribeEndpoint show what is being done to it, or, without a status, that nothing is."""
        self.status = VariantStatus(status, message) if status else None

    def route(self) -> VariantRoute:
        """Return where its requests go with its present weight."""
        return VariantRoute(self.plan.name, self.weight, self.fleet, self.metrics, capture=self.capture)


class Deployment:
    """The running form of a `DeploymentPlan`, in a folder of its own under `home`."""

    def __init__(self, core: Core, endpoint_name: str, plan: DeploymentPlan, *, home: Path, fence: Fence) -> None:
        """Make the folder; nothing is started."""
        self.plan = plan
        self._created = datetime.now(UTC)
        self._core = core
        self._endpoint_name = endpoint_name
        self._folder = home / endpoint_name / secrets.token_hex(4)
        self._folder.mkdir(parents=True)
        self.variants = tuple(self._variant(variant, fence) for variant in plan.variants)
        self._capture: Capture | None = None  # of all its variants

    def start(self) -> None:
        """Fetch the artefacts, start every instance and wait until each passes its ping.

        Raises:
            DeploymentFailed: anything of it failed; what was started is still there, for `close`.
        """
        self.tell("Creating", lambda variant: f"Launching {variant.plan.instance_count} instance(s).")
        self.fetch()
        self.launch({variant.plan.name: variant.plan.instance_count for variant in self.variants})
        self.tell(None)

    def fetch(self) -> None:
        """Fetch the artefacts.

        Raises:
            DeploymentFailed: one is not there, or the model's role may not read it or join its VPC.
        """
        for variant in self.variants:
            model_dir = variant.fleet.launch.model_dir
            self._core.propagation.settle(variant.plan.model.role_arn)
            self._join_vpc(variant.plan.model)
            if not model_dir.exists():  # variants of the same model share it
                fetch_model(self._core, variant.plan.model, model_dir.parent)
        if self.plan.capture is not None and self.plan.capture.is_enabled:
            self._capture = self._start_capture(self.plan.capture)
            for variant in self.variants:
                variant.capture = self._capture

    @property
    def production(self) -> tuple[Variant, ...]:
        """The variants that answer requests."""
        return tuple(variant for variant in self.variants if not variant.plan.is_shadow)

    def describe_pending(self) -> dict[str, Any]:
        """Return a deployment in progress as DescribeEndpoint's PendingDeploymentSummary."""
        return {
            "EndpointConfigName": self.plan.config_name,
            "StartTime": self._created,
            "ProductionVariants": [variant.describe_pending() for variant in self.production],
        }

    def launch(self, counts: Mapping[str, int], *, until: float = math.inf) -> None:
        """Have as many instances of each variant, and wait until each passes its ping, until `until` at most.

        `until`: a moment of the monotonic clock.

        Raises:
            DeploymentFailed: one did not; what was started is still there, for `close`.
        """
        for variant in self.variants:
            variant.fleet.grow_to(counts[variant.plan.name], until=until)

    def tell(self, status: str | None, message: Callable[[Variant], str] = lambda _: "") -> None:
        """Have DescribeEndpoint show what is being done to each variant, or, without a status, that nothing is."""
        for variant in self.variants:
            variant.tell(status, message(variant))

    def _join_vpc(self, model: ModelPlan) -> None:
        role = Role(self._core.authority, model.role_arn, "SageMaker")
        if model.has_vpc and not may_join(role, OF_SAGEMAKER):
            raise DeploymentFailed(NO_INTERFACE)

    def route(self) -> EndpointRoute:
        """Return where requests go with the present weights."""
        return self.routed_to(variant.route() for variant in self.production)

    def routed_to(self, routes: Iterable[VariantRoute]) -> EndpointRoute:
        """Return the endpoint with other routes than its own."""
        settings = self._core.settings
        shadows = [ShadowRoute(each.route(), each.copies) for each in self.variants if each.plan.is_shadow]
        return EndpointRoute(
            self._endpoint_name,
            settings.account_id,
            settings.region,
            tuple(routes),
            shadow=next(iter(shadows), None),
        )

    def variant(self, name: str) -> Variant | None:
        """Return a variant by its name."""
        return next((variant for variant in self.variants if variant.plan.name == name), None)

    def close(self, *, drain: bool) -> None:
        """End every instance and remove the folder; with `drain`, after the requests they have."""
        for variant in self.variants:
            variant.fleet.close(drain=drain)
        if self._capture is not None:
            self._capture.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_capture(self, plan: CapturePlan) -> Capture:
        told = {variant.plan.name: variant.tell_of_requests for variant in self.variants}
        roles = {v.plan.name: Role(self._core.authority, v.plan.model.role_arn, "SageMaker") for v in self.variants}
        return Capture(
            plan,
            self._endpoint_name,
            {name: self._core.objects_of(role, plan.kms_key) for name, role in roles.items()},
            folder=self._folder / "captured.data",  # no name of a variant
            tell=lambda variant, line: told[variant](line),
            flush_seconds=max(FLUSH_SECONDS / self._core.settings.time_scale, SHORTEST_FLUSH_SECONDS),
        )

    def _variant(self, plan: VariantPlan, fence: Fence) -> Variant:
        settings = self._core.settings
        role = Role(self._core.authority, plan.model.role_arn, "SageMaker")
        launch = Launch(
            endpoint_name=self._endpoint_name,
            variant=plan,
            model_dir=self._folder / "models" / plan.model.name / "model",
            folder=self._folder / plan.name,
            arn=f"arn:{partition()}:sagemaker:{settings.region}:{settings.account_id}:endpoint/{self._endpoint_name.lower()}",
            logs=LogsOfRole(self._core.logs, role),
        )
        fleet = Fleet(self._core, launch, fence=fence)
        return Variant(
            plan, fleet, VariantMetrics(self._core.metrics, self._endpoint_name, plan.name, self.plan.config_name)
        )
