"""Scaling policies, and the two CloudWatch alarms that each target tracking policy gets. The fields are checked here.

The alarm that scales out needs 3 periods above the target; a period is a minute, or ten seconds for a high-resolution
metric. The alarm that scales in needs 15 minutes below nine tenths of the target.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from localaws.autoscaling.scalables import Scalable, TrackedMetric
from localaws.errors import AwsError

TRACKING, STEP = "TargetTrackingScaling", "StepScaling"
OUT_PERIODS, IN_PERIODS, IN_PERIOD_SECONDS = 3, 15, 60
SCALE_IN_SHARE_OF_TARGET = 0.9
STATISTICS = ("Average", "Minimum", "Maximum", "SampleCount", "Sum")
ADJUSTMENTS = ("ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity")

TargetKey = tuple[str, str]  # scalable dimension, resource id


@dataclass(frozen=True)
class Policy:
    """A policy in force. `high`, `low`: the names of a target tracking policy's alarms."""

    name: str
    target: TargetKey
    kind: str
    configuration: Mapping[str, Any]
    arn: str
    created: float
    default_cooldown: int
    high: str = ""
    low: str = ""
    alarm_arns: Mapping[str, str] = field(default_factory=dict)

    @property
    def scales_in(self) -> bool:
        """Whether the policy may scale in at all."""
        return not self.configuration.get("DisableScaleIn", False)

    def cooldown(self, *, is_out: bool) -> int:
        """Return the seconds, emulated, to wait after an activity."""
        if self.kind == STEP:
            given = self.configuration.get("Cooldown")
        else:
            given = self.configuration.get("ScaleOutCooldown" if is_out else "ScaleInCooldown")
        return self.default_cooldown if given is None else int(given)


def check_tracking(configuration: Mapping[str, Any], scalable: Scalable, resource_id: str) -> TrackedMetric:
    """Return the metric that a target tracking policy watches.

    Raises:
        AwsError: the configuration says what AWS refuses or localaws lacks.
    """
    if float(configuration.get("TargetValue") or 0) <= 0:
        raise _invalid("TargetValue must be greater than 0.")
    for name in ("ScaleOutCooldown", "ScaleInCooldown"):
        if int(configuration.get(name) or 0) < 0:
            raise _invalid(f"{name} must be greater than or equal to 0.")
    predefined, customized = (
        configuration.get(name) for name in ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
    )
    if (predefined is None) == (customized is None):
        raise _invalid("Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification is required.")
    if predefined is not None:
        kind = predefined["PredefinedMetricType"]
        metric = scalable.metric(kind, resource_id)
        if metric is None:
            raise _invalid(
                f"Scalable dimension {scalable.dimension} does not support the predefined metric type {kind}."
            )
        return metric
    return _customized(customized or {})


def check_step(configuration: Mapping[str, Any]) -> None:
    """Refuse a step scaling policy that AWS refuses.

    Raises:
        AwsError: it has no adjustment type, no steps, or steps that overlap.
    """
    kind = configuration.get("AdjustmentType")
    if kind not in ADJUSTMENTS:
        raise _invalid(f"AdjustmentType {kind!r} must be one of {', '.join(ADJUSTMENTS)}.")
    steps = configuration.get("StepAdjustments") or []
    if not steps:
        raise _invalid("At least one StepAdjustment is required.")
    bounds = sorted(
        (
            float(each.get("MetricIntervalLowerBound", "-inf")),
            float(each.get("MetricIntervalUpperBound", "inf")),
        )
        for each in steps
    )
    if any(lower >= upper for lower, upper in bounds):
        raise _invalid("The lower bound of a StepAdjustment must be less than its upper bound.")
    if any(upper > lower for (_, upper), (lower, _) in pairwise(bounds)):
        raise _invalid("StepAdjustment intervals can't overlap.")


def put_alarms(cloudwatch: Any, policy: Policy, metric: TrackedMetric) -> dict[str, str]:
    """Put the two alarms of a target tracking policy; return their ARNs by their names, high first."""
    target_value = float(policy.configuration["TargetValue"])
    rows = (
        (policy.high, "GreaterThanThreshold", target_value, OUT_PERIODS, metric.out_period),
        (policy.low, "LessThanThreshold", SCALE_IN_SHARE_OF_TARGET * target_value, IN_PERIODS, IN_PERIOD_SECONDS),
    )
    arns = {}
    for name, comparison, threshold, periods, period in rows:
        action = f"{policy.arn}:createdBy/{uuid.uuid4()}"
        alarm = cloudwatch.put_metric_alarm(
            name=name,
            description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {action}.",
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=[{"Name": key, "Value": value} for key, value in metric.dimensions.items()],
            statistic=metric.statistic,
            unit=metric.unit,
            comparison_operator=comparison,
            threshold=threshold,
            evaluation_periods=periods,
            period=period,
            alarm_actions=[action],
        )
        arns[name] = alarm.alarm_arn
    return arns


def alarm_names(resource_id: str) -> tuple[str, str]:
    """Return names for a target tracking policy's two alarms, high and low, as AWS makes them."""
    high, low = (f"TargetTracking-{resource_id}-Alarm{kind}-{uuid.uuid4()}" for kind in ("High", "Low"))
    return high, low


def _customized(specification: Mapping[str, Any]) -> TrackedMetric:
    if specification.get("Metrics"):
        raise _invalid("CustomizedMetricSpecification.Metrics is not supported by localaws: name one metric.")
    missing = [name for name in ("MetricName", "Namespace", "Statistic") if not specification.get(name)]
    if missing:
        raise _invalid(f"CustomizedMetricSpecification: {', '.join(missing)} is required.")
    if specification["Statistic"] not in STATISTICS:
        raise _invalid(f"Statistic {specification['Statistic']!r} must be one of {', '.join(STATISTICS)}.")
    dimensions = {each["Name"]: each["Value"] for each in specification.get("Dimensions") or ()}
    return TrackedMetric(
        specification["Namespace"],
        specification["MetricName"],
        dimensions,
        specification["Statistic"],
        specification.get("Unit"),
    )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
