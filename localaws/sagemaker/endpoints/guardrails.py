"""Deployment guardrails: what a DeploymentConfig asks of an update, and AWS's rules for it. Changes nothing.

The ranges of single values are checked against botocore's model before. Where AWS documents a rule and not its words,
the words are ours. Sources, of docs.aws.amazon.com/sagemaker/latest: dg/deployment-guardrails-*.html,
APIReference/API_{BlueGreenUpdatePolicy,TrafficRoutingConfig,RollingUpdatePolicy}.html
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from moto.sagemaker.exceptions import AWSValidationException

from localaws.sagemaker.endpoints.plan import DeploymentPlan

ALL_AT_ONCE, CANARY, LINEAR, ROLLING = "ALL_AT_ONCE", "CANARY", "LINEAR", "ROLLING"
SIZE_OF = {CANARY: "CanarySize", LINEAR: "LinearStepSize", ROLLING: "MaximumBatchSize"}
LEAST_PERCENT = {CANARY: 0, LINEAR: 10, ROLLING: 5}  # of a variant's instances
MOST_PERCENT = 50
UNGUARDED_TYPES = "ml.inf1."  # such an endpoint is updated all at once, without baking


@dataclass(frozen=True)
class CapacitySize:
    """A part of a fleet: `unit` is INSTANCE_COUNT or CAPACITY_PERCENT."""

    unit: str
    value: int

    def instances(self, total: int) -> int:
        """Return how many of `total` instances it is: a percentage is rounded, and is one instance at least."""
        count = self.value if self.unit == "INSTANCE_COUNT" else math.ceil(total * self.value / 100 - 0.5)
        return min(total, max(1, count))

    def percents(self, total: int) -> tuple[float, ...]:
        """Return what has to keep the limits: the share of `total` instances, and the percentage if it is one."""
        share = 100 * (self.value if self.unit == "INSTANCE_COUNT" else self.instances(total)) / total
        return (share,) if self.unit == "INSTANCE_COUNT" else (self.value, share)

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> "CapacitySize | None":
        """Return what a CapacitySize of a request says, None if there is none."""
        return cls(given["Type"], given["Value"]) if given else None

    def __str__(self) -> str:
        return f"{self.value} {'instance(s)' if self.unit == 'INSTANCE_COUNT' else '%'}"


@dataclass(frozen=True)
class Guardrails:
    """How an update shifts the traffic, and what takes it back. Without values: all at once, and nothing does.

    All seconds are emulated. `step`: the canary, linear step or rolling batch; `rollback_step`: the batch of a rolling
    deployment that is taken back, None for all at once; `timeout_seconds`: of the whole update; `alarms`: their names.
    """

    kind: str = ALL_AT_ONCE
    step: CapacitySize | None = None
    wait_seconds: int = 0
    termination_wait_seconds: int = 0
    timeout_seconds: int | None = None
    rollback_step: CapacitySize | None = None
    alarms: tuple[str, ...] = ()

    def steps(self, total: int) -> tuple[int, ...]:
        """Return how many of `total` new instances take requests after each shift."""
        if self.step is None:
            return (total,)
        size = self.step.instances(total)
        return (size, total) if self.kind == CANARY else (*range(size, total, size), total)

    def further_instances(self, total: int, former: int) -> int:
        """Return how many instances the update has at most beside the `former` ones, for `total` new ones."""
        if self.kind != ROLLING or self.step is None:
            return total
        return self.step.instances(total) + max(0, total - former)

    def waiting_seconds(self, total: int) -> int:
        """Return how long a fleet of `total` new instances bakes in all."""
        shifts = len(self.steps(total))
        return self.wait_seconds * (shifts - (self.kind != ROLLING)) + self.termination_wait_seconds


def parse(config: Mapping[str, Any]) -> Guardrails:
    """Return what a DeploymentConfig asks for.

    Raises:
        AWSValidationException: it has both policies, or lacks the size of its steps, or has one that it does not use.
    """
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    rows = (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or []
    alarms = tuple(row["AlarmName"] for row in rows if row.get("AlarmName"))
    if blue_green and rolling:
        raise AWSValidationException(
            "DeploymentConfig has BlueGreenUpdatePolicy and RollingUpdatePolicy. Only one update policy should be used."
        )
    if rolling:
        return _rolling(rolling, alarms)
    return _blue_green(blue_green, alarms) if blue_green else Guardrails(alarms=alarms)


def _rolling(policy: Mapping[str, Any], alarms: tuple[str, ...]) -> Guardrails:
    return Guardrails(
        kind=ROLLING,
        step=CapacitySize.of(policy.get("MaximumBatchSize")),
        wait_seconds=policy["WaitIntervalInSeconds"],
        timeout_seconds=policy.get("MaximumExecutionTimeoutInSeconds"),
        rollback_step=CapacitySize.of(policy.get("RollbackMaximumBatchSize")),
        alarms=alarms,
    )


def _blue_green(policy: Mapping[str, Any], alarms: tuple[str, ...]) -> Guardrails:
    routing = policy["TrafficRoutingConfiguration"]
    kind = routing["Type"]
    for of_kind in (CANARY, LINEAR):
        member = SIZE_OF[of_kind]
        if (of_kind == kind) != bool(routing.get(member)):
            rule = "is required" if of_kind == kind else f"is for Type {of_kind} only"
            raise AWSValidationException(f"TrafficRoutingConfiguration of Type {kind}: {member} {rule}.")
    return Guardrails(
        kind=kind,
        step=CapacitySize.of(routing.get(SIZE_OF.get(kind, ""))),
        wait_seconds=routing["WaitIntervalInSeconds"],
        termination_wait_seconds=policy.get("TerminationWaitInSeconds") or 0,
        timeout_seconds=policy.get("MaximumExecutionTimeoutInSeconds"),
        alarms=alarms,
    )


def check(guardrails: Guardrails, plan: DeploymentPlan) -> None:
    """Refuse guardrails that do not fit the fleet they are for.

    Raises:
        AWSValidationException: a step is too small or too large for a variant, a rolling deployment has several
            variants, or the time limit of a blue/green deployment is over before it has waited.
    """
    if guardrails.kind == ROLLING and len(plan.variants) > 1:
        raise AWSValidationException(
            f"RollingUpdatePolicy is not supported for endpoints with several variants; endpoint configuration "
            f"{plan.config_name} has {len(plan.variants)}. Use BlueGreenUpdatePolicy."
        )
    for variant in plan.variants:
        _check_step(guardrails, variant.name, variant.instance_count)
        _check_timeout(guardrails, variant.instance_count)


def _check_step(guardrails: Guardrails, variant: str, total: int) -> None:
    if guardrails.step is None:
        return
    least = LEAST_PERCENT[guardrails.kind]
    if not all(least <= percent <= MOST_PERCENT for percent in guardrails.step.percents(total)):
        allowed = f"between {least}% and {MOST_PERCENT}%" if least else f"less than or equal to {MOST_PERCENT}%"
        raise AWSValidationException(
            f"{SIZE_OF[guardrails.kind]} of {guardrails.step} is {guardrails.step.instances(total)} of the {total} "
            f"instance(s) of variant {variant}. Value must be {allowed} of the variant's total instance count."
        )


def _check_timeout(guardrails: Guardrails, total: int) -> None:
    limit, waiting = guardrails.timeout_seconds, guardrails.waiting_seconds(total)
    if guardrails.kind != ROLLING and limit is not None and limit <= waiting:
        raise AWSValidationException(
            f"MaximumExecutionTimeoutInSeconds of {limit} must be larger than the total waiting time of {waiting} "
            "specified in WaitIntervalInSeconds and TerminationWaitInSeconds."
        )


def check_names(old: Collection[str], new: Collection[str]) -> None:
    """Refuse to shift traffic between variants of other names.

    Raises:
        AWSValidationException: telling both.
    """
    if set(old) != set(new):
        raise AWSValidationException(
            "With DeploymentConfig the new endpoint configuration must have the same variant names as the old one: "
            f"it has {', '.join(sorted(new))}, the old one {', '.join(sorted(old))}."
        )


def within_exclusions(guardrails: Guardrails, *plans: DeploymentPlan) -> Guardrails:
    """Return the guardrails that are in force: none where an instance type excludes them."""
    types = [variant.instance_type for plan in plans for variant in plan.variants]
    return Guardrails() if any(each.startswith(UNGUARDED_TYPES) for each in types) else guardrails
