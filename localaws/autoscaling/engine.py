"""Holds scalable targets and their policies, and scales them when alarms, limits or schedules ask for it.

Alarms that fire in the same period are collected and acted on together. The largest capacity that a policy asks for
wins; target tracking scales in only when all tracking policies of the target would. A resource is changed by one
request at a time, and not while its service is still changing it. The service reports when it is done.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from localaws.autoscaling.activities import Activity, ActivityLog, NotScaled
from localaws.autoscaling.decisions import step, track_in, track_out
from localaws.autoscaling.policies import TRACKING, Policy, TargetKey, alarm_names, put_alarms
from localaws.autoscaling.scalables import Capacity, Scalable, TrackedMetric
from localaws.autoscaling.targets import Cooldown, Target
from localaws.cloudwatch.alarms import Firing
from localaws.core import Core
from localaws.errors import AwsError
from localaws.periodic import ACT, PERIOD_SECONDS

ATTEMPT = "Attempting to scale due to alarm triggered"


class Engine:
    """Application Auto Scaling of the server's account and region. Thread-safe; making one starts nothing."""

    def __init__(self, core: Core, scalables: Sequence[Scalable]) -> None:
        self.core = core
        self.scalables = {scalable.dimension: scalable for scalable in scalables}
        self.targets: dict[TargetKey, Target] = {}
        self.policies: dict[str, Policy] = {}  # by ARN
        self.activities = ActivityLog()
        self.lock = threading.RLock()
        self._fired: defaultdict[TargetKey, list[tuple[Policy, Firing]]] = defaultdict(list)
        self._is_started = False

    # Targets

    def is_registered(self, endpoint_name: str, variant_name: str) -> bool:
        """Return whether a variant is a scalable target."""
        return _variant_key(endpoint_name, variant_name) in self.targets

    def maximum(self, endpoint_name: str, variant_name: str) -> int | None:
        """Return the most instances that a variant may be scaled to, None if it is no scalable target."""
        target = self.targets.get(_variant_key(endpoint_name, variant_name))
        return target.maximum if target else None

    def forget_endpoint(self, endpoint_name: str) -> None:
        """Deregister the variants of an endpoint that is being deleted, as SageMaker does."""
        with self.lock:
            for key in [key for key in self.targets if key[1].startswith(f"endpoint/{endpoint_name}/")]:
                self.deregister(key)

    def register(self, target: Target) -> None:
        """Take a target, or its new limits, and have its capacity be within them at once."""
        with self.lock:
            self.targets[target.key] = target
            target.must_fit = True
            if not self._is_started:
                self._is_started = True
                self.core.periodic.add(self.act, order=ACT)
            self._fit(target)

    def deregister(self, key: TargetKey) -> None:
        """Forget a target with its policies, their alarms and its scheduled actions."""
        with self.lock:
            del self.targets[key]
            for policy in [policy for policy in self.policies.values() if policy.target == key]:
                self.remove_policy(policy)

    # Policies

    def policies_of(self, key: TargetKey) -> list[Policy]:
        """Return the policies of a target."""
        return [policy for policy in self.policies.values() if policy.target == key]

    def put_policy(self, policy: Policy, metric: TrackedMetric | None) -> Policy:
        """Put a policy in force in place of the one of its name; a tracking policy gets new alarms for its `metric`."""
        with self.lock:
            former = next((each for each in self.policies_of(policy.target) if each.name == policy.name), None)
            if former is not None:
                self.remove_policy(former)
                policy = replace(policy, arn=former.arn, created=former.created)
            cloudwatch = self.cloudwatch()
            cloudwatch.evaluator.scale_by(self.fire)
            if metric is not None:
                high, low = alarm_names(policy.target[1])
                policy = replace(policy, high=high, low=low)
                policy = replace(policy, alarm_arns=put_alarms(cloudwatch, policy, metric))
            self.policies[policy.arn] = policy
            return policy

    def remove_policy(self, policy: Policy) -> None:
        """Forget a policy and the alarms that were made for it."""
        with self.lock:
            del self.policies[policy.arn]
            self.cloudwatch().delete_alarms([name for name in (policy.high, policy.low) if name])

    def alarms_of(self, policy: Policy) -> dict[str, str]:
        """Return the ARNs of the alarms that trigger a policy, by their names."""
        if policy.kind == TRACKING:
            return dict(policy.alarm_arns)
        alarms = list(self.cloudwatch().alarms.values())
        return {each.name: each.alarm_arn for each in alarms if policy.arn in (each.alarm_actions or ())}

    def cloudwatch(self) -> Any:
        """Return the CloudWatch that policies have their alarms in."""
        from moto.cloudwatch.models import cloudwatch_backends

        return cloudwatch_backends[self.core.settings.account_id][self.core.settings.region]

    # What happens by itself

    def fire(self, action_arn: str, firing: Firing) -> bool:
        """Take what an alarm asks of a policy; return whether there is such a policy."""
        with self.lock:
            policy = self.policies.get(action_arn.partition(":createdBy/")[0])
            if policy is None:
                return False
            self._fired[policy.target].append((policy, firing))
            return True

    def act(self, moment: int) -> None:
        """Do what this period's alarms and schedules ask for."""
        with self.lock:
            fired, self._fired = self._fired, defaultdict(list)
            for target in list(self.targets.values()):
                self._run_schedules(target, moment)
                if target.must_fit:
                    self._fit(target)
                if fired[target.key]:
                    self._follow(target, fired[target.key])

    def _run_schedules(self, target: Target, moment: int) -> None:
        for action in list(target.actions.values()):
            if (
                action.schedule.is_due(moment - PERIOD_SECONDS, moment)
                and not target.suspended["ScheduledScalingSuspended"]
            ):
                minimum = target.minimum if action.minimum is None else action.minimum
                maximum = target.maximum if action.maximum is None else action.maximum
                self._set_limits(target, minimum, maximum, f"scheduled action name {action.name} was triggered")

    def _set_limits(self, target: Target, minimum: int, maximum: int, cause: str) -> None:
        limits, now = f"min capacity to {minimum} and max capacity to {maximum}", self.core.clock.now()
        activity = self._activity(target, f"Setting {limits}", cause)
        if minimum > maximum:
            why = "the minimum capacity would be above the maximum capacity."
            self.activities.add(replace(activity, status="Failed", ended=now, message=f"Failed to set {limits}: {why}"))
            return
        target.minimum, target.maximum, target.must_fit = minimum, maximum, True
        done = f"Successfully set {limits}"
        self.activities.add(replace(activity, status="Successful", ended=now, message=done))

    def _fit(self, target: Target) -> None:
        """Bring the capacity within the limits; left for later while the service is at work on the resource."""
        capacity = self._capacity(target)
        if capacity is None or capacity.is_changing or target.running:
            return
        target.must_fit = False
        wanted = target.clamp(capacity.desired)
        if wanted != capacity.desired:
            limit = "minimum" if wanted > capacity.desired else "maximum"
            self._change(target, capacity.desired, wanted, f"{limit} capacity was set to {wanted}", None)

    def _follow(self, target: Target, fired: Sequence[tuple[Policy, Firing]]) -> None:
        """Scale as the policies whose alarms fired ask for."""
        capacity = self._capacity(target)
        if capacity is None or target.running:
            return
        now, current = self.core.clock.now(), capacity.desired
        wanted = [(self._wanted(target, *each, current, now), *each) for each in fired]
        asked = [(count, policy, firing) for count, policy, firing in wanted if count is not None]
        outs, ins = [each for each in asked if each[0] > current], [each for each in asked if each[0] < current]
        outs = [] if target.suspended["DynamicScalingOutSuspended"] else outs
        may_scale_in = not target.suspended["DynamicScalingInSuspended"] and target.may_scale_in(now)
        ins = ins if may_scale_in and self._all_would_scale_in(target, ins) else []
        if not outs and not ins:
            return
        count, policy, firing = max(outs or ins, key=lambda each: each[0])
        cause = f"monitor alarm {firing.alarm_name} in state {firing.state} triggered policy {policy.name}"
        limited = target.clamp(count)
        if capacity.is_changing:
            self._not_scaled(target, cause, {"Code": "TargetServicePutResourceAsUnscalable"})
        elif (limited <= current) if outs else (limited >= current):
            self._not_scaled(target, cause, _at_limit(target, current, is_out=bool(outs)))
        else:
            self._change(target, current, limited, cause, policy)

    def _wanted(self, target: Target, policy: Policy, firing: Firing, current: int, now: float) -> int | None:
        """Return the capacity that a policy asks for, its cooldown counted in; None if it asks for nothing."""
        if firing.value is None:
            return None
        if policy.kind != TRACKING:
            difference = firing.value - firing.threshold
            return step(policy.configuration, target.baseline(current, now) if difference >= 0 else current, difference)
        target_value = float(policy.configuration["TargetValue"])
        if firing.alarm_name == policy.high:
            return max(current, track_out(target.baseline(current, now), firing.value, target_value))
        return track_in(current, firing.value, target_value) if policy.scales_in else None

    def _all_would_scale_in(self, target: Target, ins: Sequence[tuple[int, Policy, Firing]]) -> bool:
        """Return whether every tracking policy that scales in is among those that ask for it."""
        tracking = [each for each in self.policies_of(target.key) if each.kind == TRACKING and each.scales_in]
        asking = {policy.arn for _, policy, _ in ins}
        return all(policy.arn in asking for policy in tracking) or not any(each.kind == TRACKING for _, each, _ in ins)

    def _change(self, target: Target, before: int, wanted: int, cause: str, policy: Policy | None) -> None:
        scalable = self.scalables[target.key[0]]
        activity = self.activities.add(self._activity(target, f"Setting {scalable.noun} to {wanted}.", cause))
        target.running = activity
        try:
            scalable.set_capacity(
                target.resource_id,
                wanted,
                lambda failure: self._ended(target, activity, before, wanted, policy, failure),
            )
        except AwsError as error:
            self._ended(target, activity, before, wanted, policy, error.message)

    def _ended(
        self, target: Target, activity: Activity, before: int, wanted: int, policy: Policy | None, failure: str | None
    ) -> None:
        scalable, now = self.scalables[target.key[0]], self.core.clock.now()
        with self.lock:
            target.running = None
            if failure is not None:
                message = f"Failed to set {scalable.noun} to {wanted}. Reason: {failure}"
                self.activities.end(activity, now=now, status="Failed", message=message)
                return
            done = f"Successfully set {scalable.noun} to {wanted}. Change successfully fulfilled by {target.service}."
            self.activities.end(activity, now=now, status="Successful", message=done)
            if policy is not None and wanted > before:
                target.out, target.in_ = Cooldown(now + policy.cooldown(is_out=True), before), None
            elif policy is not None:
                target.in_ = Cooldown(now + policy.cooldown(is_out=False), before)

    def _capacity(self, target: Target) -> Capacity | None:
        """Return the resource's capacity, None if there is no such resource any more."""
        try:
            return self.scalables[target.key[0]].get_capacity(target.resource_id)
        except AwsError as error:
            failed = self._activity(target, ATTEMPT, "the resource was looked at")
            gone = {"Code": "TargetServicePutResourceAsUnscalable"}
            self.activities.add_not_scaled(
                replace(failed, status="Failed", message=error.message, ended=failed.started, not_scaled=(gone,))
            )
            return None

    def _not_scaled(self, target: Target, cause: str, reason: NotScaled) -> None:
        activity = self._activity(target, ATTEMPT, cause)
        self.activities.add_not_scaled(replace(activity, status="Failed", ended=activity.started, not_scaled=(reason,)))

    def _activity(self, target: Target, description: str, cause: str) -> Activity:
        dimension, resource_id = target.key
        return Activity(target.service, resource_id, dimension, description, cause, self.core.clock.now())


def _variant_key(endpoint_name: str, variant_name: str) -> TargetKey:
    return ("sagemaker:variant:DesiredInstanceCount", f"endpoint/{endpoint_name}/variant/{variant_name}")


def _at_limit(target: Target, current: int, *, is_out: bool) -> NotScaled:
    if is_out and current >= target.maximum:
        return {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": target.maximum, "CurrentCapacity": current}
    if not is_out and current <= target.minimum:
        return {"Code": "AlreadyAtMinCapacity", "MinCapacity": target.minimum, "CurrentCapacity": current}
    return {"Code": "AlreadyAtDesiredCapacity", "CurrentCapacity": current}
