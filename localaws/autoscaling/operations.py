"""Every operation of Application Auto Scaling on the wire, in the place of moto's."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

from localaws.autoscaling.engine import Engine
from localaws.autoscaling.policies import STEP, TRACKING, Policy, TargetKey, check_step, check_tracking
from localaws.autoscaling.scalables import Scalable
from localaws.autoscaling.schedules import parse
from localaws.autoscaling.targets import SUSPENDABLE, ScheduledAction, Target, new_target_arn
from localaws.errors import AwsError
from localaws.paging import page_of
from localaws.partition import partition

PAGE = 50
Fields = dict[str, Any]


class Operations:
    """The operations by their names, each from a request's fields to the reply's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings = engine.core.settings

    def register_scalable_target(self, asked: Fields) -> Fields:
        """RegisterScalableTarget: a new target, or new limits and suspensions of one."""
        scalable, key = self._scalable(asked), _key(asked)
        with self._engine.lock:
            known = self._engine.targets.get(key)
            minimum = known.minimum if known and asked.get("MinCapacity") is None else asked.get("MinCapacity")
            maximum = known.maximum if known and asked.get("MaxCapacity") is None else asked.get("MaxCapacity")
            limits = _checked_limits(minimum, maximum, scalable)
            suspended = {**(known.suspended if known else dict.fromkeys(SUSPENDABLE, False))}
            suspended |= {name: bool(value) for name, value in (asked.get("SuspendedState") or {}).items()}
            if known is None:
                scalable.check(key[1])
                known = self._new_target(asked, key, scalable)
            (known.minimum, known.maximum), known.suspended = limits, suspended
            known.role_arn = asked.get("RoleARN") or known.role_arn
            known.tags.update(asked.get("Tags") or {})
            self._engine.register(known)
            return {"ScalableTargetARN": known.arn}

    def deregister_scalable_target(self, asked: Fields) -> Fields:
        """DeregisterScalableTarget, with its policies, alarms and scheduled actions."""
        key = self._registered(asked, "No scalable target found for").key
        self._engine.deregister(key)
        return {}

    def describe_scalable_targets(self, asked: Fields) -> Fields:
        """DescribeScalableTargets."""
        wanted = asked.get("ResourceIds")
        found = [
            target
            for target in list(self._engine.targets.values())
            if _is_of(target.service, target.key, {**asked, "ResourceId": None})
            and (not wanted or target.resource_id in wanted)
        ]
        return _page("ScalableTargets", [target.describe() for target in found], asked)

    def put_scaling_policy(self, asked: Fields) -> Fields:
        """PutScalingPolicy: target tracking or step scaling."""
        target, scalable = self._registered(asked), self._scalable(asked)
        former = self._find_policy(target.key, asked["PolicyName"])
        kind = asked.get("PolicyType") or (former.kind if former else STEP)
        if kind not in (STEP, TRACKING):
            raise AwsError("ValidationException", f"PolicyType {kind} is not supported by localaws.")
        configuration = asked.get(f"{kind}PolicyConfiguration") or (former.configuration if former else {})
        metric = check_tracking(configuration, scalable, target.resource_id) if kind == TRACKING else None
        if metric is None:
            check_step(configuration)
        arn = (
            f"arn:{partition()}:autoscaling:{self._settings.region}:{self._settings.account_id}:scalingPolicy:{uuid.uuid4()}:"
            f"resource/{target.service}/{target.resource_id}:policyName/{asked['PolicyName']}"
        )
        policy = self._engine.put_policy(
            Policy(asked["PolicyName"], target.key, kind, configuration, arn, time.time(), scalable.default_cooldown),
            metric,
        )
        return {"PolicyARN": policy.arn, "Alarms": self._alarms(policy)}

    def delete_scaling_policy(self, asked: Fields) -> Fields:
        """DeleteScalingPolicy, with the alarms that were made for it."""
        policy = self._find_policy(_key(asked), asked["PolicyName"])
        if policy is None:
            raise _not_found("No scaling policy found for", asked, f", policy name: {asked['PolicyName']}")
        self._engine.remove_policy(policy)
        return {}

    def describe_scaling_policies(self, asked: Fields) -> Fields:
        """DescribeScalingPolicies."""
        names = asked.get("PolicyNames")
        found = [
            policy
            for policy in list(self._engine.policies.values())
            if _is_of(policy.target[0].partition(":")[0], policy.target, asked) and (not names or policy.name in names)
        ]
        return _page("ScalingPolicies", [self._describe_policy(policy) for policy in found], asked)

    def describe_scaling_activities(self, asked: Fields) -> Fields:
        """DescribeScalingActivities, newest first."""
        with self._engine.lock:
            listed = self._engine.activities.listed(with_not_scaled=bool(asked.get("IncludeNotScaledActivities")))
        found = [each for each in listed if _is_of(each.service, (each.dimension, each.resource_id), asked)]
        return _page("ScalingActivities", [each.describe() for each in found], asked)

    def put_scheduled_action(self, asked: Fields) -> Fields:
        """PutScheduledAction: a new one, or changes to one."""
        target, name = self._registered(asked), asked["ScheduledActionName"]
        with self._engine.lock:
            known = target.actions.get(name)
            fields = {**(known.fields if known else {}), **asked}
            if not fields.get("Schedule"):
                raise AwsError("ValidationException", "Schedule is required for a new scheduled action.")
            schedule = parse(
                fields["Schedule"],
                timezone=fields.get("Timezone"),
                start=fields.get("StartTime"),
                end=fields.get("EndTime"),
                created=self._engine.core.clock.now(),
            )
            arn = (
                f"arn:{partition()}:autoscaling:{self._settings.region}:{self._settings.account_id}:scheduledAction:{uuid.uuid4()}"
                f":resource/{target.service}/{target.resource_id}:scheduledActionName/{name}"
            )
            created = known.created if known else time.time()
            target.actions[name] = ScheduledAction(name, known.arn if known else arn, fields, schedule, created)
        return {}

    def delete_scheduled_action(self, asked: Fields) -> Fields:
        """DeleteScheduledAction."""
        target = self._engine.targets.get(_key(asked))
        if target is None or target.actions.pop(asked["ScheduledActionName"], None) is None:
            name = f", scheduled action name: {asked['ScheduledActionName']}"
            raise _not_found("No scheduled action found for", asked, name)
        return {}

    def describe_scheduled_actions(self, asked: Fields) -> Fields:
        """DescribeScheduledActions."""
        names = asked.get("ScheduledActionNames")
        found = [
            _describe_action(target, action)
            for target in list(self._engine.targets.values())
            for action in list(target.actions.values())
            if _is_of(target.service, target.key, asked) and (not names or action.name in names)
        ]
        return _page("ScheduledActions", found, asked)

    def tag_resource(self, asked: Fields) -> Fields:
        """TagResource, of a scalable target."""
        self._tags_of(asked["ResourceARN"]).update(asked["Tags"])
        return {}

    def untag_resource(self, asked: Fields) -> Fields:
        """UntagResource."""
        tags = self._tags_of(asked["ResourceARN"])
        for name in asked["TagKeys"]:
            tags.pop(name, None)
        return {}

    def list_tags_for_resource(self, asked: Fields) -> Fields:
        """ListTagsForResource."""
        return {"Tags": dict(self._tags_of(asked["ResourceARN"]))}

    def _new_target(self, asked: Fields, key: TargetKey, scalable: Scalable) -> Target:
        settings = self._settings
        role = f"arn:{partition()}:iam::{settings.account_id}:role/aws-service-role/{scalable.service_role}"
        if not self._engine.core.propagation.is_ready(role):
            raise AwsError("ValidationException", f"Unable to assume IAM role: {role}")
        arn = new_target_arn(settings.region, settings.account_id)
        return Target(key, asked["ServiceNamespace"], arn, role, 0, 0, time.time())

    def _scalable(self, asked: Fields) -> Scalable:
        scalable = self._engine.scalables.get(asked["ScalableDimension"])
        if scalable is None or not scalable.dimension.startswith(f"{asked['ServiceNamespace']}:"):
            raise AwsError(
                "ValidationException",
                f"ServiceNamespace {asked['ServiceNamespace']} with ScalableDimension {asked['ScalableDimension']} is "
                f"not supported by localaws, only {', '.join(self._engine.scalables)}.",
            )
        return scalable

    def _registered(self, asked: Fields, text: str = "No scalable target registered for") -> Target:
        target = self._engine.targets.get(_key(asked))
        if target is None:
            raise _not_found(text, asked)
        return target

    def _find_policy(self, key: TargetKey, name: str) -> Policy | None:
        return next((policy for policy in self._engine.policies_of(key) if policy.name == name), None)

    def _alarms(self, policy: Policy) -> list[Fields]:
        return [{"AlarmName": name, "AlarmARN": arn} for name, arn in self._engine.alarms_of(policy).items()]

    def _describe_policy(self, policy: Policy) -> Fields:
        dimension, resource_id = policy.target
        return {
            "PolicyARN": policy.arn,
            "PolicyName": policy.name,
            "ServiceNamespace": dimension.partition(":")[0],
            "ResourceId": resource_id,
            "ScalableDimension": dimension,
            "PolicyType": policy.kind,
            f"{policy.kind}PolicyConfiguration": policy.configuration,
            "Alarms": self._alarms(policy),
            "CreationTime": policy.created,
        }

    def _tags_of(self, arn: str) -> dict[str, str]:
        found = next((target for target in list(self._engine.targets.values()) if target.arn == arn), None)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"There is no scalable target with the ARN {arn}.")
        return found.tags


def install_operations(engine: Engine) -> None:
    """Have moto dispatch to these; the operations that are not here are refused by name."""
    operations, settings = Operations(engine), engine.core.settings
    backend: Any = applicationautoscaling_backends[settings.account_id][settings.region]
    backend.targets = engine.targets  # where permissions find their tags
    for name in dir(operations):
        if not name.startswith("_"):
            setattr(ApplicationAutoScalingResponse, name, _dispatched(getattr(operations, name), engine))


def _dispatched(operation: Callable[[Fields], Fields], engine: Engine) -> Callable[[Any], str]:
    def respond(self: Any) -> str:
        settings = engine.core.settings
        if (self.region, self.current_account) != (settings.region, settings.account_id):
            raise AwsError(
                "ValidationException", f"localaws scales in region {settings.region} only, not {self.region}."
            )
        return json.dumps(operation(json.loads(self.body)))

    return respond


def _key(asked: Fields) -> TargetKey:
    return asked["ScalableDimension"], asked["ResourceId"]


def _is_of(service: str, key: TargetKey, asked: Fields) -> bool:
    dimension, resource_id = key
    return (
        service == asked["ServiceNamespace"]
        and asked.get("ScalableDimension") in (None, dimension)
        and asked.get("ResourceId") in (None, resource_id)
    )


def _page(name: str, found: list[Fields], asked: Fields) -> Fields:
    page, token = page_of(
        found, asked.get("NextToken"), asked.get("MaxResults") or PAGE, service="application-autoscaling"
    )
    return {name: page, "NextToken": token} if token else {name: page}


def _checked_limits(minimum: int | None, maximum: int | None, scalable: Scalable) -> tuple[int, int]:
    if minimum is None or maximum is None:
        raise AwsError("ValidationException", "MinCapacity and MaxCapacity are required for a new scalable target.")
    if minimum < scalable.least_capacity:
        least = f"{scalable.least_capacity} for {scalable.dimension}"
        raise AwsError("ValidationException", f"Minimum capacity must be at least {least}, it is {minimum}.")
    if minimum > maximum:
        raise AwsError("ValidationException", "Maximum capacity cannot be less than minimum capacity")
    return minimum, maximum


def _describe_action(target: Target, action: ScheduledAction) -> Fields:
    kept = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
    return {
        "ScheduledActionName": action.name,
        "ScheduledActionARN": action.arn,
        "ServiceNamespace": target.service,
        "ResourceId": target.resource_id,
        "ScalableDimension": target.key[0],
        "CreationTime": action.created,
        **{name: action.fields[name] for name in kept if action.fields.get(name) is not None},
    }


def _not_found(text: str, asked: Fields, more: str = "") -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        f"{text} service namespace: {asked['ServiceNamespace']}, resource ID: {asked['ResourceId']}, scalable "
        f"dimension: {asked['ScalableDimension']}{more}",
    )
