"""Finds the moments of the first scale-out in a profile's observation. The functions are pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.load.profile import Profile
from tasks.run.numbers import whole_number
from tasks.scaling.choice import ScalingPlan
from tasks.verdicts.profile_observation import MetricPoint, ObservedActivity, ProfileObservation


@dataclass(frozen=True)
class ScaleOut:
    """The moments of the first scale-out after the rise, in real seconds. A moment that did not happen is None.

    The load exceeds the target at `crossed`, the first minute above it ends at `over_at`, scaling is `decided`, and the
    added instance `serves`.
    """

    crossed: float | None
    over_at: float | None
    decided: float | None
    serves: float | None


def first_scale_out(plan: ScalingPlan, profile: Profile, observation: ProfileObservation) -> ScaleOut:
    """Return the moments of the first scale-out after the rise.

    `over_at` is the end of the first minute in the unbroken run of minutes above the target before the decision.

    Raises:
        KeyError: the profile has no stage "ramp", or the plan no target value.
    """
    rise, target = profile.span("ramp")[0], plan.value("target_value")
    before = observation.serving(rise) or 1
    crossed = profile.rises_above(before * target * plan.measured.time_scale / 60)
    after = crossed if crossed is not None and crossed >= rise else rise
    activity = _first_out(observation, after)
    if crossed is None or activity is None:
        return ScaleOut(crossed, None, None, None)
    minutes = [
        point for point in observation.series.get("per_instance", ()) if after < point.until <= activity.at + 1e-6
    ]
    return ScaleOut(crossed, _run_above(minutes, target), activity.at, _serves(observation, activity, before))


def _serves(observation: ProfileObservation, activity: ObservedActivity, before: int) -> float | None:
    """Return when more instances served. DescribeEndpoint shows it at the next poll; the activity's end is exact."""
    looked = next((poll.at for poll in observation.instances if poll.at >= activity.at and poll.current > before), None)
    if looked is None or activity.ended is None or activity.status != "Successful":
        return looked
    return min(looked, activity.ended)


def _run_above(minutes: Sequence[MetricPoint], target: float) -> float | None:
    """Return the end of the first minute in the unbroken run of minutes above the target that ends the series."""
    begin = None
    for point in reversed(minutes):
        if point.value <= target:
            break
        begin = point.until
    return begin


def _first_out(observation: ProfileObservation, after: float) -> ObservedActivity | None:
    """Return the first activity after a moment that raised the desired number of instances."""
    for activity in observation.activities:
        wanted = desired_count_in(activity)
        if activity.at >= after and wanted is not None and wanted > (observation.serving(activity.at) or 1):
            return activity
    return None


def desired_count_in(activity: ObservedActivity) -> int | None:
    """Return the desired number of instances that an activity's description names, or None."""
    return whole_number(activity.description.rstrip(".").rpartition(" ")[2])
