"""One deployment of an endpoint: the model files and fleets of one endpoint configuration, on disk and running."""

import secrets
import shutil
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


class Variant:
    """A variant that runs. `desired_count` is what was asked for, the fleet has what there is."""

    def __init__(self, plan: VariantPlan, fleet: Fleet, metrics: VariantMetrics) -> None:
        self.plan = plan
        self.fleet = fleet
        self.metrics = metrics
        self.weight = plan.weight
        self.desired_count = plan.instance_count
        self.copies = Copies(self.tell)  # of requests, for a shadow variant

    def tell(self, line: str) -> None:
        """Write a line about its requests to the endpoint's log, in a stream of its own."""
        launch = self.fleet.launch
        launch.logs.write(launch.log_group, f"{self.plan.name}/data-log", [line])

    def route(self) -> VariantRoute:
        """Return it as the router sees it, with its present weight."""
        return VariantRoute(self.plan.name, self.weight, self.fleet, self.metrics)

    def describe(self) -> dict[str, Any]:
        """Return the variant as DescribeEndpoint's ProductionVariantSummary."""
        return {
            "VariantName": self.plan.name,
            "DeployedImages": [{"SpecifiedImage": self.plan.model.image}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": len(self.fleet.serving),
            "DesiredInstanceCount": self.desired_count,
        }


class Deployment:
    """The running form of a `DeploymentPlan`, in a folder of its own under `home`."""

    def __init__(self, core: Core, endpoint_name: str, plan: DeploymentPlan, *, home: Path, fence: Fence) -> None:
        """Make the folder; nothing is started."""
        self.plan = plan
        self._core = core
        self._endpoint_name = endpoint_name
        self._folder = home / endpoint_name / secrets.token_hex(4)
        self._folder.mkdir(parents=True)
        self.variants = tuple(self._variant(variant, fence) for variant in plan.variants)
        self._capture: Capture | None = None

    def start(self) -> None:
        """Fetch the artefacts, start every instance and wait until each passes its ping.

        Raises:
            DeploymentFailed: anything of it failed; what was started is still there, for `close`.
        """
        for variant in self.variants:
            model_dir = variant.fleet.launch.model_dir
            self._core.propagation.settle(variant.plan.model.role_arn)
            self._join_vpc(variant.plan.model)
            if not model_dir.exists():  # variants of the same model share it
                fetch_model(self._core, variant.plan.model, model_dir.parent)
        for variant in self.variants:
            variant.fleet.grow_to(variant.plan.instance_count)
        if self.plan.capture is not None and self.plan.capture.is_enabled:
            self._capture = self._start_capture(self.plan.capture)

    def _join_vpc(self, model: ModelPlan) -> None:
        role = Role(self._core.authority, model.role_arn, "SageMaker")
        if model.has_vpc and not may_join(role, OF_SAGEMAKER):
            raise DeploymentFailed(NO_INTERFACE)

    def route(self) -> EndpointRoute:
        """Return where requests go with the present weights."""
        settings = self._core.settings
        shadows = [ShadowRoute(each.route(), each.copies) for each in self.variants if each.plan.is_shadow]
        return EndpointRoute(
            self._endpoint_name,
            settings.account_id,
            settings.region,
            tuple(each.route() for each in self.variants if not each.plan.is_shadow),
            shadow=next(iter(shadows), None),
            capture=self._capture,
        )

    def variant(self, name: str) -> Variant | None:
        """Return a variant by its name."""
        return next((variant for variant in self.variants if variant.plan.name == name), None)

    def close_spares(self) -> None:
        """End the spares of every variant, and keep none from now on."""
        for variant in self.variants:
            variant.fleet.spares.close()

    def close(self, *, drain: bool) -> None:
        """End every instance and remove the folder; with `drain`, after the requests they have."""
        for variant in self.variants:
            variant.fleet.close(drain=drain)
        if self._capture is not None:
            self._capture.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_capture(self, plan: CapturePlan) -> Capture:
        told = {variant.plan.name: variant.tell for variant in self.variants}
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
        return Variant(plan, fleet, VariantMetrics(self._core.metrics, self._endpoint_name, plan.name))
