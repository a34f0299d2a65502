"""The state of a scalable target: its limits, its suspended activities and its cooldowns."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from localaws.autoscaling.activities import Activity
from localaws.autoscaling.policies import TargetKey
from localaws.autoscaling.schedules import Schedule
from localaws.partition import partition

SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


@dataclass(frozen=True)
class Cooldown:
    """What holds scaling back. `until`: emulated Unix time; `before`: the capacity that the activity started from."""

    until: float
    before: int


@dataclass
class ScheduledAction:
    """A scheduled action as it was put, with its schedule understood."""

    name: str
    arn: str
    fields: dict[str, Any]
    schedule: Schedule
    created: float

    @property
    def minimum(self) -> int | None:
        """The new minimum capacity, None to leave it."""
        return _number(self.fields, "MinCapacity")

    @property
    def maximum(self) -> int | None:
        """The new maximum capacity, None to leave it."""
        return _number(self.fields, "MaxCapacity")


@dataclass
class Target:
    """A registered target. `running`: the activity that is at work; `must_fit`: why its limits have to be enforced."""

    key: TargetKey
    service: str
    arn: str
    role_arn: str
    minimum: int
    maximum: int
    created: float
    suspended: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(SUSPENDABLE, False))
    actions: dict[str, ScheduledAction] = field(default_factory=dict)
    running: Activity | None = None
    must_fit: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    out: Cooldown | None = None
    in_: Cooldown | None = None

    @property
    def resource_id(self) -> str:
        """The resource's id."""
        return self.key[1]

    def clamp(self, capacity: int) -> int:
        """Return the capacity within the limits."""
        return max(self.minimum, min(self.maximum, capacity))

    def baseline(self, current: int, now: float) -> int:
        """Return the capacity to scale out from: without what a scale-out whose cooldown still runs has added."""
        return min(current, self.out.before) if self.out and now < self.out.until else current

    def may_scale_in(self, now: float) -> bool:
        """Return whether no scale-in's cooldown runs."""
        return self.in_ is None or now >= self.in_.until

    def describe(self) -> dict[str, Any]:
        """Return the target as DescribeScalableTargets gives it."""
        return {
            "ServiceNamespace": self.service,
            "ResourceId": self.resource_id,
            "ScalableDimension": self.key[0],
            "MinCapacity": self.minimum,
            "MaxCapacity": self.maximum,
            "RoleARN": self.role_arn,
            "CreationTime": self.created,
            "SuspendedState": self.suspended,
            "ScalableTargetARN": self.arn,
        }


def new_target_arn(region: str, account_id: str) -> str:
    """Return an ARN for a target."""
    return f"arn:{partition()}:application-autoscaling:{region}:{account_id}:scalable-target/{uuid.uuid4().hex[:32]}"


def _number(fields: dict[str, Any], name: str) -> int | None:
    value = (fields.get("ScalableTargetAction") or {}).get(name)
    return None if value is None else int(value)
