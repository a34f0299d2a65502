"""A DeploymentConfig as a record: its steps, and what is refused of it, in AWS's rules."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.sagemaker.exceptions import AWSValidationException

from localaws.sagemaker.endpoints.guardrails import (
    CANARY,
    LINEAR,
    ROLLING,
    CapacitySize,
    Guardrails,
    check,
    parse,
    within_exclusions,
)
from localaws.sagemaker.endpoints.plan import DeploymentPlan, ModelPlan, VariantPlan
from tests.localaws.roles import trust
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.localaws.sagemaker.endpoints.updates import (
    blue_green,
    instances,
    percent,
    put_own_alarm,
    rolling,
    start,
    update,
    version,
    with_alarms,
)


def plan(*counts: int, instance_type: str = "ml.m5.large") -> DeploymentPlan:
    model = ModelPlan("model", "image", None, {}, "role")
    return DeploymentPlan(
        "config", tuple(VariantPlan(f"v{n}", model, instance_type, count, 1.0) for n, count in enumerate(counts))
    )


@pytest.mark.parametrize(
    ("kind", "size", "total", "steps"),
    [
        (CANARY, percent(10), 10, (1, 10)),
        (CANARY, percent(33), 3, (1, 3)),  # AWS's example: 33 % of 3 are 1 instance
        (CANARY, percent(50), 3, (1, 3)),
        (CANARY, percent(1), 4, (1, 4)),
        (LINEAR, percent(20), 10, (2, 4, 6, 8, 10)),
        (LINEAR, percent(33), 3, (1, 2, 3)),
        (LINEAR, instances(3), 10, (3, 6, 9, 10)),
        (ROLLING, percent(5), 40, tuple(range(2, 41, 2))),
        (ROLLING, instances(2), 5, (2, 4, 5)),
    ],
)
def test_steps_are_whole_instances_and_end_with_all(
    kind: str, size: dict[str, Any], total: int, steps: tuple[int, ...]
) -> None:
    assert Guardrails(kind=kind, step=CapacitySize.of(size)).steps(total) == steps


def test_without_a_config_everything_shifts_at_once() -> None:
    assert parse({}) == Guardrails()
    assert Guardrails().steps(7) == (7,) and Guardrails().waiting_seconds(7) == 0


def test_a_blue_green_update_bakes_between_its_steps_and_before_the_old_fleet_ends() -> None:
    linear = parse(blue_green("LINEAR", wait=300, end=60, LinearStepSize=percent(20)))
    assert linear.waiting_seconds(10) == 4 * 300 + 60
    assert parse(rolling(percent(50), wait=100)).waiting_seconds(4) == 200


def test_a_rolling_update_needs_room_for_a_batch_only() -> None:
    batches = parse(rolling(instances(2), wait=0))
    assert [batches.further_instances(10, former) for former in (10, 4, 12)] == [2, 8, 2]
    assert Guardrails().further_instances(10, 4) == 10


@pytest.mark.parametrize(
    ("config", "counts", "why"),
    [
        (blue_green("CANARY", wait=0), (2,), "Type CANARY: CanarySize is required"),
        (blue_green("LINEAR", wait=0), (2,), "Type LINEAR: LinearStepSize is required"),
        (blue_green("ALL_AT_ONCE", wait=0, CanarySize=percent(10)), (2,), "CanarySize is for Type CANARY only"),
        (blue_green("CANARY", wait=0, CanarySize=percent(51)), (100,), "less than or equal to 50%"),
        (blue_green("CANARY", wait=0, CanarySize=instances(2)), (3,), "is 2 of the 3 instance.s. of variant v0"),
        (blue_green("CANARY", wait=0, CanarySize=percent(10)), (1,), "is 1 of the 1 instance"),
        (blue_green("LINEAR", wait=0, LinearStepSize=percent(9)), (100,), "between 10% and 50%"),
        (blue_green("LINEAR", wait=0, LinearStepSize=instances(1)), (11,), "between 10% and 50%"),
        (blue_green("LINEAR", wait=0, LinearStepSize=instances(2)), (4, 3), "of variant v1"),
        (rolling(percent(4), wait=0), (100,), "MaximumBatchSize of 4 % .* between 5% and 50%"),
        (rolling(instances(6), wait=0), (10,), "between 5% and 50%"),
        (rolling(percent(50), wait=0), (2, 2), "RollingUpdatePolicy is not supported for endpoints with several"),
        ({**rolling(percent(50), wait=0), **blue_green("ALL_AT_ONCE", wait=0)}, (2,), "Only one update policy"),
        (
            blue_green("CANARY", wait=600, end=600, limit=1200, CanarySize=percent(50)),
            (2,),
            "MaximumExecutionTimeoutInSeconds of 1200 must be larger than the total waiting time of 1200",
        ),
    ],
)
def test_what_aws_does_not_allow_is_refused(config: dict[str, Any], counts: tuple[int, ...], why: str) -> None:
    with pytest.raises(AWSValidationException, match=why):
        check(parse(config), plan(*counts))


def test_inf1_instances_are_updated_all_at_once_without_baking() -> None:
    canary = parse(blue_green("CANARY", wait=600, CanarySize=percent(50)))
    assert within_exclusions(canary, plan(2), plan(2)) == canary
    assert within_exclusions(canary, plan(2), plan(2, instance_type="ml.inf1.xlarge")) == Guardrails()


@pytest.fixture(scope="module")
def endpoint(bench: Workbench) -> str:
    return start(bench, version(bench, "1", count=2))


@pytest.mark.parametrize(
    ("deployment", "why"),
    [
        (lambda _: blue_green("CANARY", wait=3601, CanarySize=percent(50)), "less than or equal to 3600"),
        (lambda _: blue_green("CANARY", wait=0, limit=599, CanarySize=percent(50)), "greater than or equal to 600"),
        (lambda _: blue_green("SLOWLY", wait=0), "enum value set"),
        (lambda bench: with_alarms({}, *[put_own_alarm(bench)] * 11), "less than or equal to 10"),
        (lambda _: with_alarms({}, "of-nobody"), 'Could not find alarm "of-nobody" of AutoRollbackConfiguration'),
        (lambda _: blue_green("CANARY", wait=0, CanarySize=instances(2)), "less than or equal to 50%"),
    ],
)
def test_the_service_refuses_in_its_words(
    bench: Workbench, endpoint: str, deployment: Callable[[Workbench], dict[str, Any]], why: str
) -> None:
    config = version(bench, "2", count=2)
    unchecked = bench.localaws.client("sagemaker", parameter_validation=False)  # boto3 would refuse some itself
    with pytest.raises(ClientError, match=why) as refused:
        unchecked.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=deployment(bench))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert bench.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"


def test_variants_of_other_names_take_no_guarded_update(bench: Workbench, endpoint: str) -> None:
    config = version(bench, "2", count=2, VariantName="other")
    with pytest.raises(ClientError, match="same variant names as the old one: it has other, the old one AllTraffic"):
        update(bench, endpoint, config, blue_green("ALL_AT_ONCE", wait=0))


def test_the_models_role_has_to_be_allowed_to_describe_the_alarms(bench: Workbench, endpoint: str) -> None:
    iam, name = bench.localaws.client("iam"), bench.name()
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("sagemaker"))["Role"]["Arn"]
    config = version(Workbench(bench.localaws, arn, prefix=bench.name()), "2", count=2)
    alarm = put_own_alarm(bench)

    with pytest.raises(ClientError, match=f"{arn} is not authorized to perform cloudwatch:DescribeAlarms"):
        update(bench, endpoint, config, with_alarms({}, alarm))
    with pytest.raises(ClientError, match="not authorized"):
        bench.sagemaker.create_endpoint(
            EndpointName=bench.name(), EndpointConfigName=config, DeploymentConfig=with_alarms({}, alarm)
        )

    allowed = {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": f"arn:aws:*:alarm:{alarm}"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="alarms", PolicyDocument=document)
    update(bench, endpoint, config, with_alarms({}, alarm))  # it fails later: the role may not read the model
    assert bench.settled(endpoint)["EndpointStatus"] == "InService"
