"""Reads a variant's scaling activities from Application Auto Scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.serving.autoscaling import resource_id, variant_arguments


@dataclass(frozen=True)
class ScalingActivity:
    """A scaling activity with its cause. Times are AWS time; `ended` is None while the activity is in progress."""

    activity_id: str
    cause: str
    description: str
    started: datetime
    ended: datetime | None
    status: str
    message: str


def describe_activities(aws: Aws, endpoint_name: str, variant: str) -> tuple[ScalingActivity, ...]:
    """Return the variant's scaling activities, oldest first.

    Raises:
        AwsFailed: AWS refused.
    """
    with aws_boundary(f"scaling activities of {endpoint_name}"):
        pages = aws.client("application-autoscaling").get_paginator("describe_scaling_activities")
        wanted = variant_arguments(resource_id(endpoint_name, variant))
        found = [each for page in pages.paginate(**wanted) for each in page["ScalingActivities"]]
    return tuple(sorted((_activity(each) for each in found), key=lambda each: each.started))


def _activity(each: Mapping[str, Any]) -> ScalingActivity:
    return ScalingActivity(
        activity_id=each["ActivityId"],
        cause=each["Cause"],
        description=each["Description"],
        started=each["StartTime"],
        ended=each.get("EndTime"),
        status=each["StatusCode"],
        message=each.get("StatusMessage", ""),
    )
