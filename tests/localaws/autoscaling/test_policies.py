"""Decisions and schedules alone; step scaling, scheduled actions, provisioned concurrency, refusals through boto3."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.autoscaling.decisions import step, track_in, track_out
from localaws.autoscaling.schedules import parse
from localaws.errors import AwsError
from tests.localaws.autoscaling.autoscaling_kit import DIMENSION, Variant
from tests.localaws.callers import allow, make_user, refusal
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.localaws.scaled_server import ScaledServer, moment
from tests.polling import wait_until

NEW_YEAR = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())  # a Tuesday
STEPS = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 3},
]


@pytest.mark.parametrize(
    ("current", "value", "target", "wanted"),
    [(1, 50.0, 20.0, 3), (2, 40.0, 20.0, 4), (3, 0.7, 0.7, 3), (4, 20.1, 20.0, 5), (1, 1000.0, 20.0, 50)],
)
def test_tracking_scales_out_in_proportion_rounded_up(current: int, value: float, target: float, wanted: int) -> None:
    assert track_out(current, value, target) == wanted


@pytest.mark.parametrize(
    ("current", "value", "target", "wanted"),
    [(3, 0.0, 20.0, 2), (2, 0.0, 20.0, 1), (50, 0.0, 20.0, 45), (10, 17.0, 20.0, 9), (2, 17.0, 20.0, 2)],
)
def test_tracking_scales_in_by_a_tenth_and_never_below_the_proportion(
    current: int, value: float, target: float, wanted: int
) -> None:
    assert track_in(current, value, target) == wanted


@pytest.mark.parametrize(
    ("configuration", "baseline", "difference", "wanted"),
    [
        ({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS}, 2, 5.0, 3),
        ({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS}, 2, 10.0, 5),
        ({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS}, 2, -1.0, None),
        ({"AdjustmentType": "ExactCapacity", "StepAdjustments": STEPS}, 9, 20.0, 3),
        ({"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 25}]}, 10, 1.0, 12),
        ({"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 25}]}, 2, 1.0, 3),
        ({"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": -67}]}, 10, -1.0, 4),
        (
            {
                "AdjustmentType": "PercentChangeInCapacity",
                "MinAdjustmentMagnitude": 4,
                "StepAdjustments": [{"ScalingAdjustment": 10}],
            },
            *(10, 1.0, 14),
        ),
    ],
)
def test_a_step_changes_the_capacity_as_aws_rounds_it(
    configuration: dict[str, Any], baseline: int, difference: float, wanted: int | None
) -> None:
    assert step(configuration, baseline, difference) == wanted


def due(expression: str, *, timezone: str | None = None, start: float | None = None) -> list[int]:
    """Return the seconds of the first day of 2030 at which a schedule runs, looked at every ten seconds."""
    schedule = parse(expression, timezone=timezone, start=start, end=None, created=NEW_YEAR)
    moments = range(NEW_YEAR, NEW_YEAR + 86_400, 10)
    return [now - NEW_YEAR for now in moments if schedule.is_due(now - 10, now)]


def test_schedules_run_when_they_say() -> None:
    assert due("at(2030-01-01T06:30:05)") == [6 * 3600 + 30 * 60 + 10]
    assert due("at(2030-01-01T06:30:00)", timezone="Europe/Berlin") == [5 * 3600 + 30 * 60]
    assert due("rate(8 hours)") == [8 * 3600, 16 * 3600]
    assert due("rate(1 day)", start=NEW_YEAR + 100.0) == []
    assert due("cron(15 10 ? * TUE *)") == [10 * 3600 + 15 * 60]
    assert due("cron(15 10 ? * WED *)") == []
    assert due("cron(0 0/6 * * ? *)") == [0, 6 * 3600, 12 * 3600, 18 * 3600]
    assert due("cron(0,30 9-10 1 JAN ? 2030)") == [9 * 3600, 9 * 3600 + 1800, 10 * 3600, 10 * 3600 + 1800]


@pytest.mark.parametrize("expression", ["cron(0 0 L * ? *)", "cron(0 0 * *)", "at(tomorrow)", "rate(0 minutes)", "now"])
def test_a_schedule_that_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(AwsError, match="is not supported by localaws"):
        parse(expression, timezone=None, start=None, end=None, created=NEW_YEAR)


@pytest.fixture
def variant(server: ScaledServer, bench: Workbench) -> Iterator[Variant]:
    made = Variant(server, bench, bench.endpoint(bench.model()))
    yield made
    bench.delete(made.endpoint)


def test_a_users_alarm_triggers_a_step_scaling_policy(variant: Variant) -> None:
    variant.register(1, 4)
    policy = variant.aws.put_scaling_policy(
        PolicyName="steps",
        **variant.id,
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": STEPS,
            "Cooldown": 600,
            "MetricAggregationType": "Average",
        },
    )
    name = f"busy-{variant.endpoint}"
    variant.load(15.0, back=3)
    variant.server.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="scaling",
        MetricName="Load",
        Dimensions=[{"Name": "EndpointName", "Value": variant.endpoint}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=10.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[policy["PolicyARN"]],
    )
    variant.until_serving(2)
    variant.pass_minutes(2)
    held = variant.desired
    variant.load(50.0)  # a mean above 20: the larger step, of which one instance has been added
    variant.until_serving(4)
    (described,) = variant.aws.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=variant.id["ResourceId"]
    )["ScalingPolicies"]
    actions = variant.server.client("cloudwatch").describe_alarm_history(AlarmName=name, HistoryItemType="Action")

    assert held == 2
    assert variant.activities()[0]["Cause"] == f"monitor alarm {name} in state ALARM triggered policy steps"
    assert [alarm["AlarmName"] for alarm in described["Alarms"]] == [name]
    executed = [item["HistorySummary"] for item in actions["AlarmHistoryItems"]]
    assert executed == [f"Successfully executed action {policy['PolicyARN']}"]


def test_a_scheduled_action_sets_the_limits_and_the_capacity_follows(variant: Variant) -> None:
    variant.register(1, 2)
    soon = moment(variant.server.now() + 90)
    action = {**variant.id, "ScheduledActionName": "morning"}
    variant.aws.put_scheduled_action(
        **action, Schedule=f"at({soon:%Y-%m-%dT%H:%M:%S})", ScalableTargetAction={"MinCapacity": 3, "MaxCapacity": 5}
    )
    (listed,) = variant.aws.describe_scheduled_actions(
        ServiceNamespace="sagemaker", ResourceId=variant.id["ResourceId"]
    )["ScheduledActions"]
    early = variant.desired
    variant.until_serving(3)
    limits, fitted = variant.activities()

    assert (early, listed["ScheduledActionName"]) == (1, "morning")
    assert limits["Description"] == "Setting min capacity to 3 and max capacity to 5"
    assert limits["Cause"] == "scheduled action name morning was triggered"
    assert limits["StatusMessage"] == "Successfully set min capacity to 3 and max capacity to 5"
    assert 0 <= (limits["StartTime"] - soon.replace(microsecond=0)).total_seconds() < 60
    assert fitted["Cause"] == "minimum capacity was set to 3"
    variant.aws.delete_scheduled_action(**action)


def test_the_maximum_is_enforced_when_it_is_lowered(variant: Variant) -> None:
    variant.register(2, 4)
    variant.until_serving(2)
    variant.register(1, 1)
    variant.until_serving(1)
    assert variant.activities()[-1]["Cause"] == "maximum capacity was set to 1"


def test_target_tracking_scales_in_only_when_every_policy_would(variant: Variant) -> None:
    variant.load(0.0, back=20)
    variant.register(2, 4)
    variant.until_serving(2)
    variant.register(1)
    variant.aws.put_scaling_policy(
        PolicyName="other",
        **variant.id,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "CustomizedMetricSpecification": {"Namespace": "n", "MetricName": "silent", "Statistic": "Average"},
        },
    )
    low = variant.track(10.0)["Alarms"][1]["AlarmName"]
    wait_until(lambda: variant.server.alarm(low)["StateValue"] == "ALARM", what="the alarm")
    variant.pass_minutes(3)
    held = variant.desired
    variant.aws.delete_scaling_policy(PolicyName="other", **variant.id)
    variant.until_serving(1)
    assert held == 2


def test_provisioned_concurrency_is_scaled_by_its_utilisation(server: ScaledServer) -> None:
    functions = Functions.of(server)
    name = functions.make()
    version = functions.aws.publish_version(FunctionName=name)["Version"]
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    scaling = server.client("application-autoscaling")
    target = {
        "ServiceNamespace": "lambda",
        "ResourceId": f"function:{name}:live",
        "ScalableDimension": "lambda:function:ProvisionedConcurrency",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)

    def provisioned() -> int:
        try:
            found = functions.aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
        except ClientError:
            return 0
        return int(found["AvailableProvisionedConcurrentExecutions"])

    wait_until(lambda: provisioned() == 1)
    scaling.put_scaling_policy(
        PolicyName="busy",
        **target,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 0.5,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"},
        },
    )
    rows = [{"Name": "FunctionName", "Value": name}, {"Name": "Resource", "Value": f"{name}:live"}]
    now = server.now()
    metric = {"MetricName": "ProvisionedConcurrencyUtilization", "Dimensions": rows, "Value": 1.0, "Unit": "Count"}
    server.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda", MetricData=[{**metric, "Timestamp": moment(now + 60 * k)} for k in range(-4, 20)]
    )
    wait_until(lambda: provisioned() == 3, what="three provisioned executions")
    activities = scaling.describe_scaling_activities(ServiceNamespace="lambda")["ScalingActivities"][::-1]
    scaling.deregister_scalable_target(**target)

    assert activities[0]["Description"] == "Setting provisioned concurrency to 1."
    assert activities[0]["StatusMessage"].endswith("Change successfully fulfilled by lambda.")
    assert f"monitor alarm TargetTracking-function:{name}:live-AlarmHigh-" in activities[1]["Cause"]


def test_what_cannot_be_scaled_is_refused(server: ScaledServer, bench: Workbench) -> None:
    model = bench.model()
    burstable = bench.start(bench.config({"ModelName": model, "InstanceType": "ml.t2.medium"}))
    bench.settled(burstable)
    scaling = server.client("application-autoscaling")
    limits = {"MinCapacity": 1, "MaxCapacity": 2}

    def register(resource: str, dimension: str = DIMENSION, namespace: str = "sagemaker", **more: Any) -> None:
        scaling.register_scalable_target(
            ServiceNamespace=namespace, ResourceId=resource, ScalableDimension=dimension, **{**limits, **more}
        )

    rows: tuple[tuple[tuple[str, ...], dict[str, Any], str], ...] = (
        ((f"endpoint/{burstable}/variant/AllTraffic",), {}, "not supported for burstable performance instances"),
        (("endpoint/none/variant/AllTraffic",), {}, "Could not find endpoint"),
        ((f"endpoint/{burstable}/variant/other",), {}, 'Could not find variant "other"'),
        (("endpoint/none",), {}, "is not that of a variant"),
        ((f"endpoint/{burstable}/variant/AllTraffic",), {"MinCapacity": 0}, "Minimum capacity must be at least 1"),
        ((f"endpoint/{burstable}/variant/AllTraffic",), {"MinCapacity": 3}, "Maximum capacity cannot be less than"),
        (("service/a/b", "ecs:service:DesiredCount", "ecs"), {}, "ecs .* is not supported by localaws"),
    )
    for arguments, more, why in rows:
        with pytest.raises(ClientError, match=why) as refused:
            register(*arguments, **more)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    bench.delete(burstable)


def test_an_endpoint_that_is_still_being_made_cannot_be_registered(server: ScaledServer, bench: Workbench) -> None:
    endpoint = bench.start(bench.config({"ModelName": bench.model()}))
    with pytest.raises(ClientError, match="has status Creating"):
        Variant(server, bench, endpoint).register(1, 2)
    bench.delete(endpoint)


def test_policies_and_targets_that_are_not_there_are_not_found(variant: Variant) -> None:
    policy = {"PolicyName": "none", **variant.id}
    for call, arguments, why in (
        ("deregister_scalable_target", variant.id, "No scalable target found for service namespace: sagemaker"),
        ("delete_scaling_policy", policy, "No scaling policy found for service namespace: sagemaker"),
        ("put_scaling_policy", policy, "No scalable target registered for service namespace: sagemaker"),
    ):
        with pytest.raises(ClientError, match=why) as missing:
            getattr(variant.aws, call)(**arguments)
        assert missing.value.response["Error"]["Code"] == "ObjectNotFoundException"


def test_policies_that_make_no_sense_are_refused(variant: Variant) -> None:
    variant.register(1, 2)
    metric = {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}
    for kind, configuration, why in (
        ("TargetTrackingScaling", {"TargetValue": 1.0}, "Exactly one of PredefinedMetricSpecification"),
        ("TargetTrackingScaling", {"TargetValue": 0.0}, "TargetValue must be greater than 0"),
        (
            "TargetTrackingScaling",
            {"TargetValue": 1.0, "PredefinedMetricSpecification": metric},
            "does not support the predefined metric type",
        ),
        ("StepScaling", {"AdjustmentType": "ChangeInCapacity"}, "At least one StepAdjustment"),
        (
            "StepScaling",
            {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [STEPS[0], STEPS[0]]},
            "intervals can't overlap",
        ),
    ):
        with pytest.raises(ClientError, match=why):
            variant.aws.put_scaling_policy(
                PolicyName="p", **variant.id, PolicyType=kind, **{f"{kind}PolicyConfiguration": configuration}
            )


def test_a_target_has_its_tags_and_its_service_linked_role(variant: Variant) -> None:
    arn = variant.register(1, 2, Tags={"run": "r1"})
    variant.aws.tag_resource(ResourceARN=arn, Tags={"stage": "test"})
    variant.aws.untag_resource(ResourceARN=arn, TagKeys=["run"])
    (target,) = variant.aws.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[variant.id["ResourceId"]]
    )["ScalableTargets"]

    assert variant.aws.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"stage": "test"}
    assert target["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")


def test_a_condition_on_the_tags_of_a_target_counts(variant: Variant) -> None:
    arn = variant.register(1, 2, Tags={"stage": "live"})
    tagged = {"StringEquals": {"aws:ResourceTag/stage": "test"}}
    user = make_user(variant.server.localaws, allow("application-autoscaling:*", Condition=tagged))
    aws = user.client("application-autoscaling")
    for call, given in (
        (aws.deregister_scalable_target, variant.id),
        (aws.register_scalable_target, {**variant.id, "MaxCapacity": 3}),
        (aws.untag_resource, {"ResourceARN": arn, "TagKeys": ["stage"]}),
    ):
        assert refusal(call, **given)[0] == "AccessDeniedException"
    variant.aws.tag_resource(ResourceARN=arn, Tags={"stage": "test"})
    assert aws.register_scalable_target(**variant.id, MaxCapacity=3)["ScalableTargetARN"] == arn
    aws.deregister_scalable_target(**variant.id)


def test_deleting_an_endpoint_deregisters_its_variant(server: ScaledServer, bench: Workbench) -> None:
    variant = Variant(server, bench, bench.endpoint(bench.model()))
    variant.register(1, 2)
    variant.track(10.0)
    bench.delete(variant.endpoint)

    found = variant.aws.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[variant.id["ResourceId"]])
    assert found["ScalableTargets"] == []
    assert variant.alarms() == {}
