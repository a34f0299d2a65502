"""SageMaker's models, endpoint configurations and endpoints, with endpoints that run.

`Endpoints` overrides moto's backend: moto keeps the records and `EndpointHosting` the processes. `install_endpoints`
returns the routes of `InvokeEndpoint`, which never pass through moto.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from moto.sagemaker.exceptions import AWSValidationException
from starlette.routing import BaseRoute

from localaws.auth.routes import ServiceRoute
from localaws.core import Core
from localaws.errors import AwsError, NoSuchRole
from localaws.partition import partition
from localaws.sagemaker.endpoints.capacity import capacity_routes
from localaws.sagemaker.endpoints.capture_config import capture_plan
from localaws.sagemaker.endpoints.hosting import Ended, EndpointHosting
from localaws.sagemaker.endpoints.operations import install_operations
from localaws.sagemaker.endpoints.plan import (
    DEFAULT_STARTUP_SECONDS,
    LEAST_OUTSTANDING,
    DeploymentPlan,
    ModelPlan,
    VariantChange,
    VariantPlan,
)
from localaws.sagemaker.endpoints.records import ServedEndpoint, ServedEndpointConfig
from localaws.sagemaker.endpoints.rollback_alarms import checked_guardrails
from localaws.sagemaker.endpoints.rollouts import further_variants
from localaws.sagemaker.endpoints.router import refuse
from localaws.sagemaker.endpoints.spare_keeper import spares_route
from localaws.sagemaker.endpoints.validation import model_data_url
from localaws.sagemaker.roles import PRINCIPAL, cannot_assume
from localaws.vpc import members, vpc_of

IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
_one_at_a_time = threading.Lock()


class Autoscaling(Protocol):
    """What endpoints have to know of Application Auto Scaling."""

    def is_registered(self, endpoint_name: str, variant_name: str) -> bool:
        """Return whether a variant is a scalable target."""

    def maximum(self, endpoint_name: str, variant_name: str) -> int | None:
        """Return the most instances that a variant may be scaled to, None if it is no scalable target."""

    def forget_endpoint(self, endpoint_name: str) -> None:
        """Deregister the variants of an endpoint that is being deleted."""


class Endpoints:
    """Overrides moto's model and endpoint operations. Every refusal is a `ValidationException` in AWS's words."""

    hosting: ClassVar[EndpointHosting]
    core: ClassVar[Core]
    autoscaling: ClassVar[Autoscaling | None] = None
    account_id: str
    region_name: str
    endpoints: dict[str, ServedEndpoint]
    endpoint_configs: dict[str, ServedEndpointConfig]
    _models: dict[str, Any]

    def create_model(
        self, model_name: str, execution_role_arn: str, container: Mapping[str, Any], **fields: Any
    ) -> Any:
        """Keep a model with the container that its instances run, which has been checked."""
        if model_name in self._models:
            raise AWSValidationException(f'Cannot create already existing model "{self._arn("model", model_name)}".')
        try:
            role_arn, arn = execution_role_arn or "", self._arn("model", model_name)
            Endpoints.core.credentials.require(role_arn, PRINCIPAL, arn)
        except NoSuchRole as error:
            raise AWSValidationException(cannot_assume(execution_role_arn)) from error
        vpc = fields.pop("vpc_config", None)
        self._check_vpc(vpc)
        model = super().create_model(  # type: ignore[misc]
            model_name=model_name, execution_role_arn=execution_role_arn, vpc_config=None, **fields
        )
        model.container = dict(container)
        model.vpc_config = vpc or None  # moto would describe an empty one, which AWS's model does not allow
        return model

    def _check_vpc(self, vpc: Mapping[str, Any] | None) -> None:
        if vpc:
            try:
                vpc_of(Endpoints.core, self.region_name, *members(vpc, "Subnets"))
            except AwsError as error:
                raise AWSValidationException(error.message) from error

    def describe_model(self, model_name: str) -> Any:
        """Return a model's record."""
        if model_name not in self._models:
            raise AWSValidationException(f'Could not find model "{self._arn("model", model_name)}".')
        return self._models[model_name]

    def delete_model(self, model_name: str) -> None:
        """Forget a model; endpoints that run it run on."""
        self.describe_model(model_name)
        del self._models[model_name]

    def create_endpoint_config(
        self,
        endpoint_config_name: str,
        production_variants: list[dict[str, Any]],
        shadow_production_variants: Sequence[dict[str, Any]] = (),
        **fields: Any,
    ) -> ServedEndpointConfig:
        """Keep a configuration; its variants have been checked but for the models they name."""
        if endpoint_config_name in self.endpoint_configs:
            arn = self._arn("endpoint-config", endpoint_config_name)
            raise AWSValidationException(f'Cannot create already existing endpoint configuration "{arn}".')
        for variant in (*production_variants, *shadow_production_variants):
            self.describe_model(variant["ModelName"])
        config = self.endpoint_configs[endpoint_config_name] = ServedEndpointConfig(
            account_id=self.account_id,
            region_name=self.region_name,
            endpoint_config_name=endpoint_config_name,
            production_variants=production_variants,
            shadow_production_variants=list(shadow_production_variants),
            **fields,
        )
        return config

    def describe_endpoint_config(self, endpoint_config_name: str) -> dict[str, Any]:
        """Return a configuration."""
        described: dict[str, Any] = self._config(endpoint_config_name).response_object
        return {name: value for name, value in described.items() if value or name == "ProductionVariants"}

    def delete_endpoint_config(self, endpoint_config_name: str) -> None:
        """Forget a configuration; endpoints made from it run on."""
        self._config(endpoint_config_name)
        del self.endpoint_configs[endpoint_config_name]

    def create_endpoint(
        self, endpoint_name: str, endpoint_config_name: str, tags: Any, deployment_config: Any = None
    ) -> ServedEndpoint:
        """Start an endpoint: `Creating`, then `InService` or `Failed`. The deployment config is for its updates."""
        arn = self._arn("endpoint", endpoint_name)
        if self.region_name != Endpoints.core.settings.region:
            raise AWSValidationException(
                f"CreateEndpoint: region {self.region_name} not supported by localaws, only "
                f"{Endpoints.core.settings.region}."
            )
        plan = self._plan(endpoint_config_name)
        checked_guardrails(Endpoints.core, deployment_config, plan)
        endpoint = ServedEndpoint(
            account_id=self.account_id,
            region_name=self.region_name,
            endpoint_name=endpoint_name,
            endpoint_config_name=endpoint_config_name,
            production_variants=self._config(endpoint_config_name).production_variants,
            tags=tags,
        )
        endpoint.last_deployment_config = deployment_config
        self._require_hosting_quota(plan.variants)
        if self.endpoints.setdefault(endpoint_name, endpoint) is not endpoint:
            raise AWSValidationException(f'Cannot create already existing endpoint "{arn}".')
        Endpoints.hosting.create(endpoint, plan)
        return endpoint

    def describe_endpoint(self, endpoint_name: str) -> dict[str, Any]:
        """Return an endpoint with the instances that serve at this moment."""
        endpoint = self.find_endpoint(endpoint_name)
        described: dict[str, Any] = endpoint.response_object
        hosting = Endpoints.hosting
        described["ProductionVariants"] = hosting.describe_variants(endpoint_name)
        described["ShadowProductionVariants"] = hosting.describe_variants(endpoint_name, are_shadows=True)
        described["DataCaptureConfig"] = hosting.describe_capture(endpoint_name)
        described["PendingDeploymentSummary"] = hosting.describe_pending(endpoint_name)
        return {name: value for name, value in described.items() if value not in (None, [], {})}

    def update_endpoint(
        self,
        *,
        endpoint_name: str,
        endpoint_config_name: str,
        retain: bool,
        without: frozenset[str],
        deployment_config: Mapping[str, Any] | None = None,
    ) -> ServedEndpoint:
        """Roll out another configuration without dropping a request; a failure leaves the old one live."""
        plan = self._plan(endpoint_config_name)
        endpoint = self.find_endpoint(endpoint_name)
        self._refuse_other_types(endpoint, plan)
        if retain:
            plan = Endpoints.hosting.retained(plan, endpoint_name, without=without)
        live = Endpoints.hosting.live(endpoint_name)
        guardrails = checked_guardrails(Endpoints.core, deployment_config, plan, live.plan if live else None)
        self._require_hosting_quota(further_variants(live, plan, guardrails))
        endpoint = self._claim(endpoint_name, "Updating", also_from="UpdateRollbackFailed")
        endpoint.last_deployment_config = deployment_config or endpoint.last_deployment_config
        Endpoints.hosting.update(endpoint, plan, guardrails)
        return endpoint

    def update_endpoint_weights_and_capacities(
        self, endpoint_name: str, desired_weights_and_capacities: list[dict[str, Any]]
    ) -> str:
        """Change variants' weights and instance counts; return the endpoint's ARN."""
        changes = [
            VariantChange(change["VariantName"], change.get("DesiredWeight"), change.get("DesiredInstanceCount"))
            for change in desired_weights_and_capacities
        ]
        return self._change(endpoint_name, changes)

    def set_instance_count(
        self, endpoint_name: str, variant_name: str, instance_count: int, then: Ended | None = None
    ) -> str:
        """Scale one variant, as autoscaling does: `Updating`, then `InService`; return the endpoint's ARN.

        `then` is told how it went, once it is over.

        Raises:
            AWSValidationException: there is no such endpoint, or it is in the middle of something.
        """
        return self._change(endpoint_name, [VariantChange(variant_name, None, instance_count)], then)

    def delete_endpoint(self, endpoint_name: str) -> None:
        """End an endpoint's processes: `Deleting`, then it is gone."""
        endpoint = self._claim(endpoint_name, "Deleting")
        if Endpoints.autoscaling is not None:
            Endpoints.autoscaling.forget_endpoint(endpoint_name)
        Endpoints.hosting.delete(endpoint, lambda: self._forget(endpoint))

    def find_endpoint(self, endpoint_name: str) -> ServedEndpoint:
        """Return an endpoint's record.

        Raises:
            AWSValidationException: there is none of that name.
        """
        endpoint = self.endpoints.get(endpoint_name)
        if endpoint is None:
            raise AWSValidationException(f'Could not find endpoint "{self._arn("endpoint", endpoint_name)}".')
        return endpoint

    def reset(self) -> None:
        """End what runs, then forget everything."""
        Endpoints.hosting.delete_all()
        super().reset()  # type: ignore[misc]

    def _change(self, endpoint_name: str, changes: list[VariantChange], then: Ended | None = None) -> str:
        self.find_endpoint(endpoint_name)
        for change in changes:
            self._require_room_for(endpoint_name, change)
        endpoint = self._claim(endpoint_name, "Updating")
        Endpoints.hosting.change(endpoint, changes, then)
        arn: str = endpoint.arn
        return arn

    def _require_room_for(self, endpoint_name: str, change: VariantChange) -> None:
        variant = Endpoints.hosting.variant(endpoint_name, change.variant)
        if variant is not None and change.instance_count is not None:
            more = change.instance_count - variant.desired_count
            self._require_hosting_quota([replace(variant.plan, instance_count=more)])

    def _require_hosting_quota(self, variants: Iterable[VariantPlan]) -> None:
        wanted: Counter[str] = Counter()
        for variant in variants:
            wanted[variant.instance_type] += variant.instance_count
        counts = Endpoints.hosting.instance_counts()
        for instance_type, more in wanted.items():
            Endpoints.core.quotas.require_instances(
                instance_type, "endpoint", current=counts[instance_type], wanted=more
            )

    def _claim(self, endpoint_name: str, status: str, *, also_from: str = "InService") -> ServedEndpoint:
        """Let one operation in: of two at the same moment, the second finds the first one's status."""
        with _one_at_a_time:
            endpoint = self.find_endpoint(endpoint_name)
            if endpoint.endpoint_status in IN_PROGRESS:
                raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
            if status == "Updating" and endpoint.endpoint_status not in ("InService", also_from):
                raise AWSValidationException(
                    f'Cannot update endpoint "{endpoint.arn}" with status {endpoint.endpoint_status}: delete it and '
                    "create another."
                )
            endpoint.set_status(status, None)
        return endpoint

    def _refuse_other_types(self, endpoint: ServedEndpoint, plan: DeploymentPlan) -> None:
        """Refuse to change the instance type of a variant that is a scalable target."""
        for wanted in plan.variants:
            live = Endpoints.hosting.variant(endpoint.endpoint_name, wanted.name)
            if live is None or live.plan.instance_type == wanted.instance_type or Endpoints.autoscaling is None:
                continue
            if Endpoints.autoscaling.is_registered(endpoint.endpoint_name, wanted.name):
                raise AWSValidationException(
                    f'Cannot change the instance type of variant "{wanted.name}" of endpoint "{endpoint.arn}" from '
                    f"{live.plan.instance_type} to {wanted.instance_type}: it is registered as a scalable target. "
                    "Deregister it from Application Auto Scaling first."
                )

    def _forget(self, endpoint: ServedEndpoint) -> None:
        if self.endpoints.get(endpoint.endpoint_name) is endpoint:
            del self.endpoints[endpoint.endpoint_name]

    def _config(self, name: str) -> ServedEndpointConfig:
        config = self.endpoint_configs.get(name)
        if config is None:
            arn = self._arn("endpoint-config", name)
            raise AWSValidationException(f'Could not find endpoint configuration "{arn}".')
        return config

    def _plan(self, config_name: str) -> DeploymentPlan:
        config = self._config(config_name)
        production = [self._variant_plan(variant) for variant in config.production_variants]
        shadows = [self._variant_plan(variant) for variant in config.shadow_production_variants]
        variants = (*production, *(replace(each, is_shadow=True) for each in shadows))
        return DeploymentPlan(config_name, variants, capture_plan(config.data_capture_config))

    def _variant_plan(self, variant: Mapping[str, Any]) -> VariantPlan:
        model = self.describe_model(variant["ModelName"])
        container = model.container
        return VariantPlan(
            name=variant["VariantName"],
            model=ModelPlan(
                name=model.model_name,
                image=container["Image"],
                data_url=model_data_url(container),
                environment=container.get("Environment") or {},
                role_arn=model.execution_role_arn,
                has_vpc=bool(model.vpc_config),
            ),
            instance_type=variant["InstanceType"],
            instance_count=variant["InitialInstanceCount"],
            weight=variant.get("InitialVariantWeight", 1.0),
            startup_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", DEFAULT_STARTUP_SECONDS),
            routing=(variant.get("RoutingConfig") or {}).get("RoutingStrategy", LEAST_OUTSTANDING),
        )

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:{partition()}:sagemaker:{self.region_name}:{self.account_id}:{kind}/{name}"


def _maximum(endpoint_name: str, variant_name: str) -> int | None:
    return Endpoints.autoscaling.maximum(endpoint_name, variant_name) if Endpoints.autoscaling else None


def install_endpoints(core: Core) -> list[BaseRoute]:
    """Make the endpoints of this server run; return the routes of SageMaker's runtime."""
    Endpoints.core = core
    Endpoints.hosting = EndpointHosting(core, maximum=_maximum)
    Endpoints.hosting.start()
    install_operations()
    return [
        *capacity_routes(core.hosting_capacity, Endpoints.hosting.bind_instances),
        spares_route(Endpoints.hosting.describe_spares),
        ServiceRoute("sagemaker", "/endpoints/{name}/invocations", Endpoints.hosting.router),
        ServiceRoute("sagemaker", "/endpoints/{name}/async-invocations", refuse("InvokeEndpointAsync")),
        ServiceRoute(
            "sagemaker", "/endpoints/{name}/invocations-response-stream", refuse("InvokeEndpointWithResponseStream")
        ),
    ]
