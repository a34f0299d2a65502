"""Tests a plan on an endpoint of localaws: registered once, adopted, suspended, refused where AWS would refuse it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.account.prices import choose_hosting_instance
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, OwnershipRefused, SettingsRefused, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tasks.serving.activities import describe_activities
from tasks.serving.autoscaling import (
    AutoscalingPlan,
    describe_scaling,
    ensure_autoscaling,
    plan_autoscaling,
    remove_autoscaling,
    resource_id,
    resume_scaling,
    suspend_scaling,
)
from tasks.serving.endpoint import ensure_endpoint
from tasks.serving.endpoint_plan import EndpointPlan
from tasks.serving.instances import set_instance_count, wait_for_instances
from tasks.teardown.all_kinds import KINDS
from tests.counting_proxy import Calls, Fault
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, IMAGE, Workbench, pack
from tests.tasks.scaling.deployments import plan as derived_plan

RUN = "scaled"
VARIANT = "AllTraffic"


@pytest.fixture(scope="module")
def endpoint(bench: Workbench) -> str:
    return bench.endpoint(bench.model())


@pytest.fixture
def aws(calls: Calls, tmp_path: Path, endpoint: str) -> Iterator[Aws]:
    made = Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs"))
    yield made
    remove_autoscaling(Run(made, RUN), endpoint, VARIANT)


def planned(endpoint: str, **changes: object) -> AutoscalingPlan:
    made = AutoscalingPlan(RUN, endpoint, VARIANT, "ml.m5.large", 1, 4, 600.0, 180, 420, deadline_seconds=30.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_is_planned_is_what_is_set(aws: Aws, endpoint: str) -> None:
    run = Run(aws, RUN)
    state = ensure_autoscaling(run, planned(endpoint))
    assert (state.minimum, state.maximum, state.is_suspended) == (1, 4, False)
    assert (state.current_instances, state.endpoint_status) == (1, "InService")
    policy = state.policies[0]
    assert policy.metric == "SageMakerVariantInvocationsPerInstance"
    assert (policy.target, policy.scale_out_cooldown, policy.scale_in_cooldown) == (600.0, 180, 420)
    assert len(policy.alarms) == 2
    rows = [(row.kind, row.name, row.state) for row in run.ledger.rows()]
    assert rows == [("scalable-target", resource_id(endpoint, VARIANT), "created")]


def test_the_same_again_changes_nothing(aws: Aws, calls: Calls, endpoint: str) -> None:
    run = Run(aws, RUN)
    first = ensure_autoscaling(run, planned(endpoint))
    calls.seen.clear()
    assert ensure_autoscaling(run, planned(endpoint)) == first
    assert calls.seen and calls.mutating() == []


@pytest.mark.parametrize(
    ("changes", "called"),
    [
        ({"maximum": 5}, ["AnyScaleFrontendService.RegisterScalableTarget"]),
        ({"target": 500.0}, ["AnyScaleFrontendService.PutScalingPolicy"]),
        ({"scale_in_cooldown": 600}, ["AnyScaleFrontendService.PutScalingPolicy"]),
    ],
)
def test_only_what_differs_is_changed(
    aws: Aws, calls: Calls, endpoint: str, changes: dict[str, object], called: list[str]
) -> None:
    run = Run(aws, RUN)
    ensure_autoscaling(run, planned(endpoint))
    calls.seen.clear()
    state = ensure_autoscaling(run, planned(endpoint, **changes))
    assert calls.mutating() == called
    assert len(state.policies) == 1


def test_a_fleet_below_the_minimum_is_brought_to_it(aws: Aws, endpoint: str) -> None:
    run = Run(aws, RUN)
    assert ensure_autoscaling(run, planned(endpoint, minimum=2)).current_instances == 2
    activities = describe_activities(aws, endpoint, VARIANT)
    assert "minimum capacity was set to 2" in activities[-1].cause
    assert activities[-1].started <= (activities[-1].ended or activities[-1].started)
    ensure_autoscaling(run, planned(endpoint))
    suspend_scaling(aws, endpoint, VARIANT)
    ref = EndpointRef(endpoint, "arn", "c", "m", VARIANT, "ml.m5.large", 2, "s3://m", 1.0)
    set_instance_count(aws, ref, 1, photo=b"photo", deadline_seconds=120)
    assert wait_for_instances(aws, endpoint, VARIANT, low=1, high=1, deadline_seconds=60) == 1


@pytest.mark.parametrize(
    ("operation", "code", "message"),
    [
        (
            "RegisterScalableTarget",
            "ValidationException",
            "Unable to assume IAM role: arn:aws:iam::1:role/r",
        ),
        ("PutScalingPolicy", "FailedResourceAccessException", "Failed access to resources caused an exception."),
    ],
)
def test_the_first_target_of_an_account_whose_service_linked_role_is_new_is_tried_again(
    aws: Aws, calls: Calls, endpoint: str, operation: str, code: str, message: str
) -> None:
    refusal = json.dumps({"__type": code, "Message": message}).encode()
    name = f"AnyScaleFrontendService.{operation}"
    calls.faults.append(Fault(name, instead=(400, refusal), times=2))
    state = ensure_autoscaling(Run(aws, RUN), planned(endpoint))
    assert (len(state.policies), calls.seen.count(name)) == (1, 3)


def test_a_wait_whose_looks_are_throttled_goes_on(calls: Calls, tmp_path: Path, endpoint: str) -> None:
    throttled = json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode()
    calls.faults.append(Fault("SageMaker.DescribeEndpoint", instead=(400, throttled), times=3))
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs", max_attempts=1))
    assert wait_for_instances(aws, endpoint, VARIANT, low=1, high=1, deadline_seconds=30) == 1
    assert calls.seen.count("SageMaker.DescribeEndpoint") == 4


def test_scaling_is_suspended_and_resumed_and_a_plan_resumes_it(aws: Aws, calls: Calls, endpoint: str) -> None:
    run = Run(aws, RUN)
    ensure_autoscaling(run, planned(endpoint))

    def is_suspended() -> bool:
        state = describe_scaling(aws, endpoint, VARIANT)
        return state is not None and state.is_suspended

    assert suspend_scaling(aws, endpoint, VARIANT) and is_suspended()
    calls.seen.clear()
    assert suspend_scaling(aws, endpoint, VARIANT) and calls.mutating() == []
    assert resume_scaling(aws, endpoint, VARIANT) and not is_suspended()
    suspend_scaling(aws, endpoint, VARIANT)
    assert not ensure_autoscaling(run, planned(endpoint)).is_suspended


def test_an_endpoint_that_is_not_registered_has_no_scaling(aws: Aws, endpoint: str) -> None:
    assert describe_scaling(aws, endpoint, VARIANT) is None
    assert not suspend_scaling(aws, endpoint, VARIANT)


def test_somebody_elses_policy_is_not_joined(aws: Aws, endpoint: str) -> None:
    run = Run(aws, RUN)
    ensure_autoscaling(run, planned(endpoint, run_id="other"))
    with pytest.raises(OwnershipRefused, match="kennel-other-invocations scales it already"):
        ensure_autoscaling(run, planned(endpoint))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"instance_type": "ml.t2.medium"}, "burstable instances cannot autoscale"),
        ({"minimum": 5}, "1 ≤ min ≤ max"),
        ({"minimum": 0}, "1 ≤ min ≤ max"),
        ({"target": 0.0}, "the target has to be above 0"),
        ({"scale_in_cooldown": -1}, "cooldowns at least 0"),
    ],
)
def test_what_aws_would_refuse_or_never_act_on_is_refused_before_a_call(changes: dict[str, object], why: str) -> None:
    with pytest.raises(SettingsRefused, match=why):
        planned("e", **changes)


def test_an_endpoint_that_does_not_exist_is_not_found(aws: Aws) -> None:
    with pytest.raises(NotFound):
        ensure_autoscaling(Run(aws, RUN), planned("kennel-no-such-endpoint"))


def test_a_wait_for_more_instances_than_there_are_has_a_deadline(aws: Aws, endpoint: str) -> None:
    with pytest.raises(WaitTimedOut, match="9 instances or more wanted"):
        wait_for_instances(aws, endpoint, VARIANT, low=9, high=None, deadline_seconds=0.2)


def test_a_derived_plan_is_applied_number_by_number() -> None:
    ref = EndpointRef("e", "arn", "c", "m", "primary", "ml.m5.large", 1, "s3://m", 1.0)
    made = plan_autoscaling(RUN, ref, derived_plan())
    assert (made.minimum, made.maximum, made.target) == (1, 4, 600.0)
    assert (made.scale_out_cooldown, made.scale_in_cooldown) == (180, 420)
    with pytest.raises(SettingsRefused, match=r"measured on ml\.m5\.large and the endpoint runs on ml\.c5\.xlarge"):
        plan_autoscaling(RUN, replace(ref, instance_type="ml.c5.xlarge"), derived_plan())


def test_teardown_finds_and_removes_the_target(aws: Aws, endpoint: str) -> None:
    ensure_autoscaling(Run(aws, RUN), planned(endpoint))
    kind, name = KINDS["scalable-target"], resource_id(endpoint, VARIANT)
    found = kind.find(aws, name)
    assert found is not None and found.key == ("scalable-target", name)
    kind.remove(aws, name)
    kind.remove(aws, name)
    assert kind.find(aws, name) is None
    assert describe_scaling(aws, endpoint, VARIANT) is None


def test_a_redeploy_keeps_the_scaled_count_and_another_instance_type_is_deregistered(
    aws: Aws, bench: Workbench
) -> None:
    run = Run(aws, RUN)

    def deploy(code: str, instance_type: str) -> EndpointRef:
        uri = bench.upload(pack({"code/inference.py": code}))
        instance = choose_hosting_instance("us-east-1", instance_type)
        return ensure_endpoint(run, EndpointPlan(RUN, IMAGE, uri, bench.role_arn, instance, 1, 40.0))

    made = deploy(ECHO, "ml.m5.large")
    wanted = planned(made.name, variant=made.variant, minimum=2)
    first = ensure_autoscaling(run, wanted)
    assert deploy(ECHO + "# changed", "ml.m5.large").instance_count == 2
    again = describe_scaling(aws, made.name, made.variant)
    assert again is not None and (again.minimum, again.policies) == (2, first.policies)

    assert deploy(ECHO, "ml.c5.xlarge").instance_type == "ml.c5.xlarge"
    assert describe_scaling(aws, made.name, made.variant) is None
    states = {row.name: row.state for row in run.ledger.rows() if row.kind == "scalable-target"}
    assert states == {resource_id(made.name, made.variant): "removed"}
    KINDS["endpoint"].remove(aws, made.name)
