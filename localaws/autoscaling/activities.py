"""Scaling activities: records of what was scaled, or was not, when and why, in AWS's words."""

import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

ACTIVITIES_KEPT = 1_000  # AWS keeps them for six weeks

NotScaled = dict[str, Any]  # as in NotScaledReasons


@dataclass(frozen=True)
class Activity:
    """One activity. Times are emulated, in Unix seconds."""

    service: str
    resource_id: str
    dimension: str
    description: str
    cause: str
    started: float
    status: str = "InProgress"
    message: str | None = None
    ended: float | None = None
    not_scaled: tuple[NotScaled, ...] = ()
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def describe(self) -> dict[str, Any]:
        """Return the activity as DescribeScalingActivities gives it."""
        shown = {
            "ActivityId": self.activity_id,
            "ServiceNamespace": self.service,
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.started,
            "EndTime": self.ended,
            "StatusCode": self.status,
            "StatusMessage": self.message,
            "NotScaledReasons": list(self.not_scaled) or None,
        }
        return {name: value for name, value in shown.items() if value is not None}


class ActivityLog:
    """The last thousand activities, the newest first. Not thread-safe: its owner locks."""

    def __init__(self) -> None:
        self._activities: deque[Activity] = deque(maxlen=ACTIVITIES_KEPT)

    def add(self, activity: Activity) -> Activity:
        """Add an activity and return it."""
        self._activities.appendleft(activity)
        return activity

    def add_not_scaled(self, activity: Activity) -> None:
        """Add an activity that did nothing, unless the resource's last one did nothing for the same reasons."""
        last = next((each for each in self._activities if each.resource_id == activity.resource_id), None)
        if last is None or (last.cause, last.not_scaled) != (activity.cause, activity.not_scaled):
            self.add(activity)

    def end(self, activity: Activity, *, now: float, status: str, message: str) -> None:
        """Have an activity that is in progress end."""
        for index, each in enumerate(self._activities):
            if each.activity_id == activity.activity_id:
                self._activities[index] = replace(each, status=status, message=message, ended=now)
                return

    def listed(self, *, with_not_scaled: bool) -> list[Activity]:
        """Return the activities, newest first."""
        return [each for each in self._activities if with_not_scaled or not each.not_scaled]
