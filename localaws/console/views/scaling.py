"""What scales a resource: limits, policies with their alarms, activities."""

from dataclasses import dataclass
from typing import Any

from localaws.console.account import Account
from localaws.metrics import MetricName

MOST_ACTIVITIES = 30


@dataclass(frozen=True)
class ShownPolicy:
    """A policy, and the metric with the value that it keeps it at, if it tracks one; `period`: of its alarm."""

    name: str
    kind: str
    configuration: dict[str, Any]
    alarms: list[str]
    metric: MetricName | None
    statistic: str
    period: int
    wanted: float | None


@dataclass(frozen=True)
class Scaled:
    """A scalable target with what happened to it, the newest first."""

    target: Any
    policies: list[ShownPolicy]
    alarms: list[Any]
    activities: list[Any]


def scaled(account: Account, resource_id: str) -> Scaled | None:
    """Return what scales a resource, None if nothing does and nothing did."""
    engine = account.scaling
    if engine is None:
        return None
    with engine.lock:
        key = next((each for each in engine.targets if each[1] == resource_id), None)
        target = engine.targets.get(key) if key else None
        found = engine.policies_of(key) if key else []
        policies = [(each, list(engine.alarms_of(each))) for each in found]
        activities = [
            each for each in engine.activities.listed(with_not_scaled=True) if each.resource_id == resource_id
        ]
    if target is None:
        return None
    named = {name for _, names in policies for name in names}
    alarms = [each for each in account.alarms if each.name in named]
    shown = [_policy(policy, names, alarms) for policy, names in policies]
    return Scaled(target, shown, alarms, activities[:MOST_ACTIVITIES])


def _policy(policy: Any, names: list[str], alarms: list[Any]) -> ShownPolicy:
    watching = next((each for each in alarms if each.name == policy.high), None)
    wanted = policy.configuration.get("TargetValue")
    return ShownPolicy(
        name=policy.name,
        kind=policy.kind,
        configuration=dict(policy.configuration),
        alarms=names,
        metric=watching.metric if watching else None,
        statistic=watching.statistic if watching else "",
        period=watching.period if watching else 60,
        wanted=float(wanted) if wanted is not None else None,
    )
