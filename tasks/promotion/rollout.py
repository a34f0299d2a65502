"""How an update of an endpoint is carried out: the steps in which requests go to the new instances, and the alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws
from tasks.run.clock import AwsClock
from tasks.run.errors import aws_boundary
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, Network
from tasks.run.records import EndpointRef, TrainedModel
from tasks.serving.deployment import describe_endpoint
from tasks.serving.endpoint_plan import EndpointPlan
from tasks.serving.releases import Release

LEAST_TIMEOUT_SECONDS = 600
MOST_TIMEOUT_SECONDS = 28_800
START_SECONDS = 1200
"""The time that new instances have to start, in seconds of AWS's clock."""


@dataclass(frozen=True)
class Rollout:
    """The steps of an update: one instance first if there are several, then all, each watched for `bake_seconds`."""

    instances: int
    bake_seconds: int
    alarms: tuple[str, ...]

    @property
    def text(self) -> str:
        """The steps in words."""
        if not self.alarms:
            return "all requests at once, without a watch"
        if self.instances == 1:
            return f"all requests at once (one instance has no smaller share), watched for {self.bake_seconds} s"
        first = f"1 of {self.instances} instances ({1 / self.instances:.0%} of the requests), then all"
        return f"{first}, each watched for {self.bake_seconds} s of AWS's clock"

    @property
    def config(self) -> dict[str, Any]:
        """UpdateEndpoint's DeploymentConfig."""
        routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.bake_seconds}
        if self.instances > 1 and self.alarms:
            routing |= {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
        alarms = {"Alarms": [{"AlarmName": name} for name in self.alarms]}
        return {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": self.bake_seconds,
                "MaximumExecutionTimeoutInSeconds": self.timeout_seconds,
            },
            **({"AutoRollbackConfiguration": alarms} if self.alarms else {}),
        }

    def deadline_seconds(self, clock: AwsClock) -> float:
        """Return how long the update may take on this machine's clock."""
        return max(1800.0, clock.wall_seconds(self.timeout_seconds + 2 * self.bake_seconds))

    @property
    def timeout_seconds(self) -> int:
        """How long AWS goes on with the update, in seconds of its clock."""
        return min(MOST_TIMEOUT_SECONDS, max(LEAST_TIMEOUT_SECONDS, START_SECONDS + 3 * self.bake_seconds))


def rollout_of(run: Run, bake_seconds: int, alarms: Sequence[str]) -> Rollout:
    """Return the steps for the instances that the endpoint has now.

    Raises:
        SettingsRefused: the run has no endpoint.
        AwsFailed: SageMaker refused.
    """
    endpoint = run.need(EndpointRef)
    found = present_endpoint(run.aws, endpoint.name)
    variants = (found or {}).get("ProductionVariants") or [{}]
    count = int(variants[0].get("DesiredInstanceCount") or endpoint.instance_count)
    return Rollout(count, bake_seconds, tuple(alarms))


def present_endpoint(aws: Aws, name: str) -> dict[str, Any] | None:
    """Return DescribeEndpoint's answer, or None without an endpoint.

    Raises:
        AwsFailed: SageMaker refused.
    """
    with aws_boundary(f"endpoint {name}"):
        found: dict[str, Any] | None = none_if_missing(
            lambda: aws.client("sagemaker").describe_endpoint(EndpointName=name)
        )
    return found


def plan_of(run: Run, release: Release, rollout: Rollout | None = None) -> EndpointPlan:
    """Return the plan of the endpoint with a release, on the instances and in the network that it has now.

    Without a rollout it has no DeploymentConfig.

    Raises:
        SettingsRefused: the run has no endpoint, or the release has no image for its instances.
        AwsFailed: SageMaker refused.
    """
    endpoint = run.need(EndpointRef)
    deploy = DeployOptions(
        instances=endpoint.instance_count,
        instance_type=endpoint.instance_type,
        capture=_captured_percent(run.aws, endpoint) / 100,
        capture_days=endpoint.capture_days or DeployOptions().capture_days,
    )
    plan = describe_endpoint(run, deploy, _network_of(run.aws, endpoint), run.need(TrainedModel), release)
    if rollout is None:
        return plan
    clock = AwsClock.from_settings(run.settings)
    return replace(plan, deadline_seconds=rollout.deadline_seconds(clock), deployment=rollout.config)


def _captured_percent(aws: Aws, endpoint: EndpointRef) -> int:
    client = aws.client("sagemaker")
    with aws_boundary(f"endpoint configuration {endpoint.config_name}"):
        asked = partial(client.describe_endpoint_config, EndpointConfigName=endpoint.config_name)
        captured = (none_if_missing(asked) or {}).get("DataCaptureConfig") or {}
    return int(captured.get("InitialSamplingPercentage", 0)) if captured.get("EnableCapture") else 0


def _network_of(aws: Aws, endpoint: EndpointRef) -> Network:
    client = aws.client("sagemaker")
    with aws_boundary(f"model {endpoint.model_name}"):
        found = none_if_missing(lambda: client.describe_model(ModelName=endpoint.model_name)) or {}
    vpc = found.get("VpcConfig") or {}
    return Network(subnets=tuple(vpc.get("Subnets", ())), security_groups=tuple(vpc.get("SecurityGroupIds", ())))
