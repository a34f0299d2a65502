"""Registers an endpoint's variant for autoscaling, sets its target tracking policy, suspends and resumes scaling.

What fits already is not changed. The policy tracks SageMakerVariantInvocationsPerInstance, which counts invocations per
instance and minute. `tasks.scaling.plan` decides the numbers. The first registration in an account needs
iam:CreateServiceLinkedRole for sagemaker.application-autoscaling.amazonaws.com, and may be refused for a minute
because that role is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, SettingsRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.records import EndpointRef
from tasks.run.waiting import retry_until_role_propagates
from tasks.scaling.choice import ScalingPlan
from tasks.serving.instances import variant_of, wait_for_instances

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
KIND = "scalable-target"
_SWITCHES = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


@dataclass(frozen=True)
class AutoscalingPlan:
    """The planned scaling of a variant. `target` is invocations per instance and minute, cooldowns are in AWS seconds.

    Raises (constructing):
        SettingsRefused: the instance type cannot autoscale, or a number is out of AWS's bounds.
    """

    run_id: str
    endpoint_name: str
    variant: str
    instance_type: str
    minimum: int
    maximum: int
    target: float
    scale_out_cooldown: int
    scale_in_cooldown: int
    deadline_seconds: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse numbers that AWS would refuse, or would accept without ever scaling."""
        where = f"autoscaling of {self.endpoint_name}"
        if self.instance_type.startswith("ml.t2."):
            why = "burstable instances cannot autoscale, because their speed depends on CPU credits"
            raise SettingsRefused(where, self.instance_type, why, "kennel run --endpoint-instance-type ml.m5.large")
        if not 1 <= self.minimum <= self.maximum:
            why = "1 ≤ min ≤ max must hold: with zero instances this metric has no data to scale out on"
            raise SettingsRefused(where, f"min={self.minimum}, max={self.maximum}", why, "choose other values by --set")
        if self.target <= 0 or min(self.scale_out_cooldown, self.scale_in_cooldown) < 0:
            what = f"target={self.target:g}, cooldowns {self.scale_out_cooldown} s out, {self.scale_in_cooldown} s in"
            why = "the target has to be above 0 and cooldowns at least 0"
            raise SettingsRefused(where, what, why, "choose other values by --set")

    @property
    def resource_id(self) -> str:
        """The variant's name in Application Auto Scaling and in the ledger."""
        return resource_id(self.endpoint_name, self.variant)

    @property
    def policy_name(self) -> str:
        """The policy's name; a run has one policy."""
        return naming.resource_name(self.run_id, "invocations")

    @property
    def configuration(self) -> dict[str, Any]:
        """The policy's TargetTrackingScalingPolicyConfiguration."""
        return {
            "TargetValue": float(self.target),
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
            "ScaleOutCooldown": self.scale_out_cooldown,
            "ScaleInCooldown": self.scale_in_cooldown,
        }


@dataclass(frozen=True)
class PolicyState:
    """A policy as AWS has it; a field that it lacks is None. `alarms` are the names of its CloudWatch alarms."""

    name: str
    metric: str
    target: float | None
    scale_out_cooldown: int | None
    scale_in_cooldown: int | None
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class ScalingState:
    """The scaling that AWS has for a variant, and the variant's number of instances."""

    minimum: int
    maximum: int
    is_suspended: bool
    policies: tuple[PolicyState, ...]
    current_instances: int
    desired_instances: int
    endpoint_status: str


def plan_autoscaling(run_id: str, endpoint: EndpointRef, plan: ScalingPlan) -> AutoscalingPlan:
    """Return the endpoint's part of a scaling plan.

    Raises:
        SettingsRefused: the plan was measured on another instance type, or a number is out of AWS's bounds.
    """
    if plan.measured.instance_type != endpoint.instance_type:
        where, measured_on = f"autoscaling of {endpoint.name}", plan.measured.instance_type
        what = f"the plan was measured on {measured_on} and the endpoint runs on {endpoint.instance_type}"
        why = "the rate that one instance carries depends on its type"
        raise SettingsRefused(where, what, why, "run the same command again, which measures the present endpoint")
    return AutoscalingPlan(
        run_id=run_id,
        endpoint_name=endpoint.name,
        variant=endpoint.variant,
        instance_type=endpoint.instance_type,
        minimum=plan.count("min_instances"),
        maximum=plan.count("max_instances"),
        target=plan.value("target_value"),
        scale_out_cooldown=plan.count("scale_out_cooldown"),
        scale_in_cooldown=plan.count("scale_in_cooldown"),
    )


def resource_id(endpoint_name: str, variant: str) -> str:
    """Return a variant's name as Application Auto Scaling spells it."""
    return f"endpoint/{endpoint_name}/variant/{variant}"


def ensure_autoscaling(run: Run, plan: AutoscalingPlan) -> ScalingState:
    """Register the variant and its policy as planned, resume scaling, wait for min to max instances; return the state.

    Raises:
        OwnershipRefused: another policy scales the variant already.
        StageFailed: the endpoint is not in service, or the variant was deregistered at the same time.
        WaitTimedOut: the endpoint did not have that many instances within the plan's deadline.
        NotFound: there is no such endpoint.
        AwsFailed: AWS refused.
    """
    with aws_boundary(f"autoscaling of {plan.endpoint_name}"):
        found = _target(run.aws, plan.resource_id)
        if found is not None:
            _refuse_other_policies(run.aws, plan)
        # AWS refuses to register a variant while its endpoint is being changed
        _wait(run.aws, plan, low=0, high=None)
        _register(run, plan, found)
        if not _has_policy(run.aws, plan):
            _put_policy(run.aws, plan)
        _wait(run.aws, plan, low=plan.minimum, high=plan.maximum)
    state = describe_scaling(run.aws, plan.endpoint_name, plan.variant)
    if state is None:
        where, what = f"autoscaling of {plan.endpoint_name}", "the variant is not registered"
        raise StageFailed(where, what, "somebody deregistered it at the same time", "run the same command again")
    return state


def describe_scaling(aws: Aws, endpoint_name: str, variant: str) -> ScalingState | None:
    """Return the scaling that AWS has for a variant, or None when it is not registered.

    Raises:
        NotFound: there is no such endpoint or variant.
        AwsFailed: AWS refused.
    """
    with aws_boundary(f"autoscaling of {endpoint_name}"):
        target = _target(aws, resource_id(endpoint_name, variant))
        if target is None:
            return None
        endpoint = aws.client("sagemaker").describe_endpoint(EndpointName=endpoint_name)
        live = variant_of(endpoint, variant)
        policies = _policies(aws, resource_id(endpoint_name, variant))
    return ScalingState(
        minimum=target["MinCapacity"],
        maximum=target["MaxCapacity"],
        is_suspended=any(_suspended(target).values()),
        policies=tuple(_policy_state(each) for each in policies),
        current_instances=live["CurrentInstanceCount"],
        desired_instances=live["DesiredInstanceCount"],
        endpoint_status=endpoint["EndpointStatus"],
    )


def suspend_scaling(aws: Aws, endpoint_name: str, variant: str) -> bool:
    """Suspend a variant's scaling until it is resumed; return whether the variant is registered.

    Raises:
        AwsFailed: AWS refused.
    """
    return _switch(aws, endpoint_name, variant, is_suspended=True)


def resume_scaling(aws: Aws, endpoint_name: str, variant: str) -> bool:
    """Resume a variant's scaling; return whether the variant is registered.

    Raises:
        AwsFailed: AWS refused.
    """
    return _switch(aws, endpoint_name, variant, is_suspended=False)


def remove_autoscaling(run: Run, endpoint_name: str, variant: str) -> None:
    """Deregister a variant if it is registered. AWS then deletes its policies and their alarms.

    Raises:
        AwsFailed: AWS refused.
    """
    name = resource_id(endpoint_name, variant)
    with aws_boundary(f"autoscaling of {endpoint_name}"):
        if _target(run.aws, name) is not None:
            client = run.aws.client("application-autoscaling")
            none_if_missing(
                lambda: repeated_if_lost(lambda: client.deregister_scalable_target(**variant_arguments(name)))
            )
            run.ledger.mark_removed(KIND, name)


def _wait(aws: Aws, plan: AutoscalingPlan, *, low: int, high: int | None) -> None:
    wait_for_instances(
        aws, plan.endpoint_name, plan.variant, low=low, high=high, deadline_seconds=plan.deadline_seconds
    )


def _register(run: Run, plan: AutoscalingPlan, found: Mapping[str, Any] | None) -> None:
    client = run.aws.client("application-autoscaling")
    wanted = {
        "MinCapacity": plan.minimum,
        "MaxCapacity": plan.maximum,
        "SuspendedState": dict.fromkeys(_SWITCHES, False),
    }
    send = partial(client.register_scalable_target, **variant_arguments(plan.resource_id), **wanted)
    register = partial(retry_until_role_propagates, run.aws.target, f"autoscaling of {plan.endpoint_name}", send)
    if found is None:
        with run.ledger.create(KIND, plan.resource_id, None) as row:
            row.identifier = repeated_if_lost(register).get("ScalableTargetARN")
        return
    run.ledger.adopt(KIND, plan.resource_id, found.get("ScalableTargetARN"))
    bounds = (found["MinCapacity"], found["MaxCapacity"])
    if bounds != (plan.minimum, plan.maximum) or any(_suspended(found).values()):
        repeated_if_lost(register)


def _put_policy(aws: Aws, plan: AutoscalingPlan) -> None:
    put = partial(aws.client("application-autoscaling").put_scaling_policy, PolicyName=plan.policy_name)
    tracking = {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": plan.configuration}
    send = partial(put, **tracking, **variant_arguments(plan.resource_id))
    what = f"autoscaling of {plan.endpoint_name}"
    repeated_if_lost(lambda: retry_until_role_propagates(aws.target, what, send))


def _switch(aws: Aws, endpoint_name: str, variant: str, *, is_suspended: bool) -> bool:
    name = resource_id(endpoint_name, variant)
    with aws_boundary(f"autoscaling of {endpoint_name}"):
        found = _target(aws, name)
        if found is None:
            return False
        wanted = dict.fromkeys(_SWITCHES, is_suspended)
        if _suspended(found) != wanted:
            client = aws.client("application-autoscaling")
            register = partial(client.register_scalable_target, **variant_arguments(name))
            repeated_if_lost(lambda: register(SuspendedState=wanted))
    return True


def _has_policy(aws: Aws, plan: AutoscalingPlan) -> bool:
    for policy in _policies(aws, plan.resource_id):
        if policy["PolicyName"] == plan.policy_name:
            configuration = policy.get("TargetTrackingScalingPolicyConfiguration", {})
            return all(configuration.get(name) == value for name, value in plan.configuration.items())
    return False


def _refuse_other_policies(aws: Aws, plan: AutoscalingPlan) -> None:
    others = [each["PolicyName"] for each in _policies(aws, plan.resource_id) if each["PolicyName"] != plan.policy_name]
    if others:
        why = "with two policies AWS takes the larger count, so a load test would test neither policy's numbers"
        variant = {"resource_id": plan.resource_id, "scalable_dimension": DIMENSION, "policy_name": others[0]}
        delete_policy = "application-autoscaling delete-scaling-policy"
        delete = aws.cli(delete_policy, service_namespace=NAMESPACE, **variant)
        where = f"autoscaling of {plan.endpoint_name}"
        raise OwnershipRefused(where, f"the policy {others[0]} scales it already", why, delete)


def _target(aws: Aws, name: str) -> Mapping[str, Any] | None:
    client = aws.client("application-autoscaling")
    answer = none_if_missing(
        lambda: client.describe_scalable_targets(
            ServiceNamespace=NAMESPACE, ResourceIds=[name], ScalableDimension=DIMENSION
        )
    )
    found: list[Mapping[str, Any]] = [] if answer is None else answer["ScalableTargets"]
    return found[0] if found else None


def _policies(aws: Aws, name: str) -> list[Mapping[str, Any]]:
    pages = aws.client("application-autoscaling").get_paginator("describe_scaling_policies")
    return [each for page in pages.paginate(**variant_arguments(name)) for each in page["ScalingPolicies"]]


def _suspended(target: Mapping[str, Any]) -> dict[str, bool]:
    state = target.get("SuspendedState") or {}
    return {name: bool(state.get(name, False)) for name in _SWITCHES}


def _policy_state(policy: Mapping[str, Any]) -> PolicyState:
    configuration = policy.get("TargetTrackingScalingPolicyConfiguration", {})
    predefined = configuration.get("PredefinedMetricSpecification", {})
    return PolicyState(
        name=policy["PolicyName"],
        metric=predefined.get("PredefinedMetricType", "customized"),
        target=configuration.get("TargetValue"),
        scale_out_cooldown=configuration.get("ScaleOutCooldown"),
        scale_in_cooldown=configuration.get("ScaleInCooldown"),
        alarms=tuple(each["AlarmName"] for each in policy.get("Alarms", [])),
    )


def variant_arguments(name: str) -> dict[str, str]:
    """Return the three arguments that name a variant in every call of Application Auto Scaling."""
    return {"ServiceNamespace": NAMESPACE, "ResourceId": name, "ScalableDimension": DIMENSION}
