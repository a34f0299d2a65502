"""Launches that go wrong: types that EC2 refuses, answers that are lost, instances that end at once."""

import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tasks.ec2.launch import launch
from tasks.ec2.prices import choose_instances
from tasks.ec2.state import wait_settled, why_ended
from tasks.ec2.terminate import terminate
from tasks.run.aws import Aws
from tasks.run.errors import AccessDenied, LimitReached, StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.records import InstanceRef
from tasks.run.waiting import Waiting
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault, ec2_error
from tests.keys import bearer
from tests.tasks.ec2.instances import living, planned, states

NO_CAPACITY = ec2_error("InsufficientInstanceCapacity", "There is none.", 500)


def tell(localaws: RunningLocalAws, what: str) -> None:
    """Set one of localaws's faults."""
    request = urllib.request.Request(f"{localaws.url}/_localaws/{what}", b"", dict(bearer()))
    urllib.request.urlopen(request, timeout=60).close()


# --- what EC2 refuses -------------------------------------------------------------------------------------------------


def test_types_that_ec2_refuses_are_passed_over_and_named(aws: Aws, calls: Calls) -> None:
    for name, code in (("c7i.xlarge", "InsufficientInstanceCapacity"), ("m7i.xlarge", "VcpuLimitExceeded")):
        calls.faults.append(
            Fault("RunInstances", b"InstanceType=" + name.encode(), ec2_error(code, "no", 500), times=2)
        )
    run = Run(aws, "inst-9")
    ref = launch(run, planned(run, candidates=choose_instances(finetune=False)))
    assert ref.instance_type == "c6i.xlarge"
    assert ref.refused == (
        "c7i.xlarge on-demand: InsufficientInstanceCapacity",
        "m7i.xlarge on-demand: VcpuLimitExceeded",
    )
    assert states(run) == ["removed", "removed", "created"]
    assert run.find(InstanceRef, number=1) == ref


def test_without_spot_capacity_the_instance_is_on_demand_at_its_price(aws: Aws, localaws: RunningLocalAws) -> None:
    run, pool = Run(aws, "inst-10"), "capacity?type=c7i.xlarge&market=spot&available="
    tell(localaws, f"{pool}0")
    ref = launch(run, planned(run, spot=True))
    tell(localaws, f"{pool}unlimited")
    assert (ref.is_spot, ref.usd_per_hour) == (False, 0.1785)
    assert ref.refused == ("c7i.xlarge spot: InsufficientInstanceCapacity",)


def test_a_spot_quota_that_is_used_up_leaves_the_on_demand_market(aws: Aws, calls: Calls) -> None:
    spot, used_up = b"InstanceMarketOptions.MarketType=spot", ec2_error("MaxSpotInstanceCountExceeded", "no")
    calls.faults.append(Fault("RunInstances", spot, used_up, times=2))
    run = Run(aws, "inst-26")
    ref = launch(run, planned(run, spot=True))
    assert (ref.is_spot, ref.refused) == (False, ("c7i.xlarge spot: MaxSpotInstanceCountExceeded",))


def test_a_spot_instance_is_one_and_costs_an_estimate(aws: Aws) -> None:
    run = Run(aws, "inst-11")
    ref = launch(run, planned(run, spot=True))
    assert ref.is_spot and ref.usd_per_hour == pytest.approx(0.42 * 0.1785, abs=1e-4)
    assert living(aws, "inst-11")[0]["InstanceLifecycle"] == "spot"


def test_when_every_type_is_refused_all_refusals_are_told_and_nothing_is_left(aws: Aws, calls: Calls) -> None:
    calls.faults.append(Fault("RunInstances", instead=NO_CAPACITY, times=99))
    run = Run(aws, "inst-12")
    with pytest.raises(LimitReached, match="EC2 has none of the types") as caught:
        launch(run, planned(run, spot=True))
    assert caught.value.why == (
        "c7i.xlarge spot: InsufficientInstanceCapacity; c7i.xlarge on-demand: InsufficientInstanceCapacity"
    )
    assert living(aws, "inst-12") == [] and states(run) == ["removed", "removed"]


def test_who_may_not_launch_is_told_before_anything_is_made(aws: Aws, calls: Calls) -> None:
    calls.faults.append(Fault("RunInstances", b"DryRun=true", ec2_error("UnauthorizedOperation", "You may not.", 403)))
    run = Run(aws, "inst-13")
    with pytest.raises(AccessDenied, match="RunInstances answered UnauthorizedOperation"):
        launch(run, planned(run))
    assert states(run) == [] and calls.seen.count("RunInstances") == 1


@pytest.mark.parametrize(
    ("run_id", "message"),
    [
        ("inst-14", "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"),
        ("inst-28", 'IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/x" has no associated IAM Roles'),
    ],
)
def test_a_profile_or_its_role_that_ec2_does_not_know_yet_is_waited_for(
    aws: Aws, calls: Calls, run_id: str, message: str
) -> None:
    calls.faults.append(Fault("RunInstances", instead=ec2_error("InvalidParameterValue", message), times=2))
    run, slept = Run(aws, run_id), [0.0]
    waiting = Waiting(clock=lambda: slept[0], sleep=lambda seconds: slept.__setitem__(0, slept[0] + seconds))
    launch(run, planned(run), waiting=waiting)
    assert calls.seen.count("RunInstances") == 4  # DryRun three times, then the launch
    assert len(living(aws, run_id)) == 1


# --- answers that are lost, instances that end at once ----------------------------------------------------------------


def test_a_launch_whose_answer_was_lost_is_one_instance(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-15")
    calls.faults.append(Fault("RunInstances", holding=b"ClientToken=kennel-inst-15"))
    ref = launch(run, planned(run))
    assert [item["InstanceId"] for item in living(aws, "inst-15")] == [ref.instance_id]
    assert states(run) == ["created"]


def test_a_launch_that_was_carried_out_and_answered_with_an_error_is_one_instance(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-16")
    broken = ec2_error("InternalError", "An internal error has occurred", 500)
    token = b"ClientToken=kennel-inst-16"
    calls.faults.append(Fault("RunInstances", holding=token, instead=broken, is_carried_out=True))
    ref = launch(run, planned(run))
    assert [item["InstanceId"] for item in living(aws, "inst-16")] == [ref.instance_id]


def test_a_launch_that_failed_unseen_is_made_again_under_the_same_token(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-17")
    broken = ec2_error("InternalError", "An internal error has occurred", 500)
    calls.faults.append(Fault("RunInstances", holding=b"ClientToken=kennel-inst-17", instead=broken))
    now = iter(range(0, 10_000, 5))
    waiting = Waiting(clock=lambda: float(next(now)), sleep=lambda _: None)
    plan = planned(run)
    with pytest.raises(Exception, match="RunInstances answered InternalError"):
        launch(run, plan, waiting=waiting)
    (name,) = [row.name for row in run.ledger.rows() if row.kind == "instance"]
    launch(run, plan)
    assert [item["ClientToken"] for item in living(aws, "inst-17")] == [name]
    assert states(run) == ["created"]


def test_a_token_whose_instance_was_terminated_is_followed_by_the_next(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-18")
    ended = ec2_error("IdempotentInstanceTerminated", "The instance was terminated.")
    calls.faults.append(Fault("RunInstances", holding=b"ClientToken=kennel-inst-18", instead=ended))
    launch(run, planned(run))
    assert [item["ClientToken"][:-8] for item in living(aws, "inst-18")] == ["kennel-inst-18-ec2-1-2-"]
    assert states(run) == ["removed", "created"]


def ended_by_a_person(ec2: Any) -> Callable[[bytes], bytes]:
    """Have somebody end the instance that is described, and the answer say so."""

    def change(content: bytes) -> bytes:
        ec2.terminate_instances(InstanceIds=re.findall(r"<instanceId>(i-\w+)<", content.decode())[:1])
        state = b"<instanceState><code>48</code><name>terminated</name></instanceState>"
        reason = b"<stateReason><code>Client.UserInitiatedShutdown</code><message>User</message></stateReason>"
        content = re.sub(rb"<stateReason>.*?</stateReason>|<stateReason ?/>", b"", content, flags=re.DOTALL)
        return re.sub(rb"<instanceState>.*?</instanceState>", state + reason, content, flags=re.DOTALL)

    return change


def test_an_instance_that_ends_while_it_starts_is_replaced_and_the_reason_kept(
    aws: Aws, localaws: RunningLocalAws
) -> None:
    tell(localaws, "launch-failures?type=c7i.xlarge&count=1")
    run = Run(aws, "inst-19")
    ref = launch(run, planned(run, candidates=choose_instances(finetune=False)))
    assert (ref.instance_type, ref.refused) == ("m7i.xlarge", ("c7i.xlarge on-demand: Server.InternalError",))
    assert [item["InstanceId"] for item in living(aws, "inst-19")] == [ref.instance_id]
    assert states(run) == ["removed", "created"]


def test_an_instance_that_a_person_ended_is_not_replaced_behind_their_back(
    aws: Aws, calls: Calls, localaws: RunningLocalAws
) -> None:
    run, ending = Run(aws, "inst-20"), ended_by_a_person(localaws.client("ec2"))
    calls.faults.append(Fault("DescribeInstances", holding=b"InstanceId.1", change=ending))
    with pytest.raises(StageFailed, match="somebody ended it while it started"):
        launch(run, planned(run))
    assert living(aws, "inst-20") == [] and states(run) == ["removed"]


def test_an_instance_that_ec2_does_not_show_yet_is_waited_for(aws: Aws, calls: Calls) -> None:
    run, slept = Run(aws, "inst-21"), [0.0]
    unseen = ec2_error("InvalidInstanceID.NotFound", "The instance ID does not exist")
    calls.faults.append(Fault("DescribeInstances", holding=b"InstanceId.1", instead=unseen, times=3))
    waiting = Waiting(clock=lambda: slept[0], sleep=lambda seconds: slept.__setitem__(0, slept[0] + seconds))
    ref = launch(run, planned(run), waiting=waiting)
    assert slept[0] >= 0.75 and len(living(aws, "inst-21")) == 1
    assert ref.instance_id


def test_why_an_instance_ended_is_told(aws: Aws) -> None:
    run = Run(aws, "inst-22")
    ref = launch(run, planned(run))
    assert why_ended(aws, ref.instance_id) is None
    terminate(run, [ref.instance_id])
    assert "User initiated" in (why_ended(aws, ref.instance_id) or "")
    assert why_ended(aws, "i-0123456789abcdef0") == "EC2 does not know it any more"


def test_an_instance_that_stays_unknown_is_given_up(aws: Aws) -> None:
    now = iter(range(0, 10_000, 10))
    with pytest.raises(WaitTimedOut, match="instance i-0123456789abcdef0: unknown for"):
        wait_settled(aws, "i-0123456789abcdef0", Waiting(clock=lambda: float(next(now)), sleep=lambda _: None))
