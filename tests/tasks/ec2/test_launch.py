"""Launching, adopting and ending instances on localaws's EC2."""

import dataclasses
import importlib
from typing import Any

import pytest

from tasks.account.network import ec2_network
from tasks.ec2.host_key import host_key
from tasks.ec2.launch import launch, launch_all, refuse_other_plans
from tasks.ec2.plan import dead_man_command, dead_man_minutes, find_image
from tasks.ec2.prices import choose_instances
from tasks.ec2.state import find_instances
from tasks.ec2.terminate import end_instances, terminate
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, OwnershipRefused, TeardownIncomplete, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.options import Network
from tasks.run.records import InstanceRef
from tests.counting_proxy import Calls, Fault, ec2_error
from tests.tasks.ec2.instances import living, planned, states
from tests.vpcs import make_vpc

# --- the plan ---------------------------------------------------------------------------------------------------------


def test_the_instance_is_launched_as_it_was_planned(aws: Aws) -> None:
    run = Run(aws, "inst-1")
    plan = planned(run)
    ref = launch(run, plan)
    (found,) = living(aws, "inst-1")
    ec2 = aws.client("ec2")
    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert (found["KeyName"], found["InstanceType"]) == ("kennel-inst-1-login", "c7i.xlarge")
    assert [group["GroupId"] for group in found["SecurityGroups"]] == [plan.access.group_id]
    assert found["IamInstanceProfile"]["Arn"].endswith("instance-profile/kennel-inst-1-instance")
    assert tags.items() >= {"kennel:run": "inst-1", "kennel:project": "kennel", "kennel:number": "1"}.items()
    behaviour = ec2.describe_instance_attribute(
        InstanceId=ref.instance_id, Attribute="instanceInitiatedShutdownBehavior"
    )
    assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    volume = found["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (disk,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (disk["Encrypted"], disk["VolumeType"], disk["Size"]) == (True, "gp3", 75)
    assert {tag["Key"] for tag in disk["Tags"]} >= {"kennel:run", "kennel:project"}


def test_in_a_vpc_of_the_users_each_subnet_is_tried_with_both_groups_and_a_sealed_volume(aws: Aws) -> None:
    ec2, run = aws.client("ec2"), Run(aws, "inst-vpc")
    vpc = make_vpc(ec2, "a", "b")
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    named = Network(subnets=vpc.subnets, security_groups=(vpc.group,))
    plan = planned(run, network=ec2_network(aws, named, ["c7i.xlarge"]), volume_key=key)
    assert [offer.subnet for offer in plan.offers] == list(vpc.subnets)
    launch(run, plan)
    (found,) = living(aws, "inst-vpc")
    assert (found["SubnetId"], found["VpcId"]) == (vpc.subnets[0], vpc.vpc_id)
    assert {group["GroupId"] for group in found["SecurityGroups"]} == {plan.access.group_id, vpc.group}
    volume = found["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["KmsKeyId"] == key


def test_the_record_says_how_to_get_in_and_what_it_costs(aws: Aws) -> None:
    run = Run(aws, "inst-2")
    ref = launch(run, planned(run))
    assert (ref.user, ref.port, ref.login_key) == ("ubuntu", 22, str(run.folder / "ec2" / "login_key"))
    assert ref.host_key == host_key(run.folder, 1).public
    assert ref.address and ref.private_address
    assert (ref.is_spot, ref.usd_per_hour, ref.refused) == (False, 0.1785, ())
    assert run.find(InstanceRef, number=1) == ref
    assert find_instances(aws, "inst-2") == (ref,)


def test_the_user_data_gives_our_host_key_and_arms_the_dead_mans_switch(aws: Aws) -> None:
    plan = planned(Run(aws, "inst-3"))
    assert plan.user_data.startswith("#cloud-config\n")
    yaml: Any = importlib.import_module("yaml")
    told = yaml.safe_load(plan.user_data)
    assert told["ssh_keys"]["ed25519_private"] == plan.host_key.private()
    assert told["ssh_keys"]["ed25519_public"] == plan.host_key.public
    assert told["runcmd"][0] == ["shutdown", "--no-wall", "-h", "+30"]
    assert dead_man_command(30) == "sudo shutdown --no-wall -h +30"
    assert plan.host_key.private().split("\n")[1] not in repr(plan)


def test_the_dead_mans_minutes_are_ours_however_fast_the_instances_clock_runs(aws: Aws) -> None:
    fast = aws.settings.model_copy(update={"time_scale": 60.0, "dead_man_minutes": 30})
    assert dead_man_minutes(fast) == 1800 and dead_man_minutes(fast, 10) == 600
    assert dead_man_minutes(fast.model_copy(update={"time_scale": 1.0})) == 30


def test_the_volume_is_at_least_as_large_as_the_image(aws: Aws) -> None:
    assert find_image(Aws(aws.settings.model_copy(update={"ec2_volume_gib": 8}))).volume_gib == 75
    assert find_image(Aws(aws.settings.model_copy(update={"ec2_volume_gib": 200}))).volume_gib == 200


# --- again ------------------------------------------------------------------------------------------------------------


def test_a_second_time_the_instance_is_adopted_and_nothing_is_changed(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-4")
    first = launch(run, planned(run))
    calls.seen.clear()
    assert launch(run, planned(run)) == first
    assert calls.mutating() == []
    assert states(run) == ["created"]


def test_without_ledger_and_record_the_instance_is_found_by_its_tags(aws: Aws) -> None:
    run = Run(aws, "inst-5")
    first = launch(run, planned(run))
    run.ledger.path.unlink()
    run.path(InstanceRef, number=1).unlink()
    again = launch(run, planned(run))
    assert again.instance_id == first.instance_id
    assert (again.host_key, again.usd_per_hour) == (first.host_key, first.usd_per_hour)
    assert states(run) == ["adopted"]


def test_an_instance_of_another_plan_is_refused(aws: Aws) -> None:
    run = Run(aws, "inst-6")
    first = launch(run, planned(run))
    with pytest.raises(OwnershipRefused, match=f"instance {first.instance_id}: it exists already"):
        launch(run, planned(run, candidates=choose_instances(finetune=True)))
    host_key(aws.settings.run_dir("inst-6"), 1).path.unlink()
    with pytest.raises(OwnershipRefused, match="keys that are not here"):
        launch(run, planned(run))
    assert len(living(aws, "inst-6")) == 1


def test_an_instance_that_somebody_stopped_is_not_taken_for_ours_to_use(aws: Aws) -> None:
    run = Run(aws, "inst-7")
    ref = launch(run, planned(run))
    aws.client("ec2").stop_instances(InstanceIds=[ref.instance_id])
    with pytest.raises(OwnershipRefused, match="it is stopp"):
        launch(run, planned(run))


def test_two_instances_of_a_run_are_two(aws: Aws) -> None:
    run = Run(aws, "inst-8")
    refs = [launch(run, planned(run, number=number)) for number in (1, 2)]
    assert len({ref.instance_id for ref in refs}) == len({ref.host_key for ref in refs}) == 2
    assert find_instances(aws, "inst-8") == tuple(refs)


# --- ending -----------------------------------------------------------------------------------------------------------


def test_an_instance_that_may_not_be_ended_does_not_keep_the_others_alive(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-23")
    refs = [launch(run, planned(run, number=number)) for number in (1, 2)]
    protected = ec2_error("OperationNotPermitted", "Modify its 'disableApiTermination' attribute and try again.")
    calls.faults.append(Fault("TerminateInstances", refs[0].instance_id.encode(), protected))
    with pytest.raises(TeardownIncomplete, match="TerminateInstances answered OperationNotPermitted") as caught:
        terminate(run, [refs[0].instance_id, "i-0123456789abcdef0", refs[1].instance_id])
    assert "i-0123456789abcdef0" not in caught.value.what  # one that does not exist is gone
    assert find_instances(aws, "inst-23") == (refs[0],) and states(run) == ["created", "removed"]


def test_ending_an_instance_twice_is_fine(aws: Aws) -> None:
    run = Run(aws, "inst-24")
    ref = launch(run, planned(run))
    for _ in range(2):
        terminate(run, [ref.instance_id])
    assert states(run) == ["removed"]


def test_an_instance_that_was_made_a_moment_ago_is_asked_to_end_again(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "inst-25")
    ref = launch(run, planned(run))
    unseen = ec2_error("InvalidInstanceID.NotFound", "The instance ID does not exist")
    calls.faults.append(Fault("TerminateInstances", instead=unseen, times=2))
    terminate(run, [ref.instance_id])
    assert calls.seen.count("TerminateInstances") == 3 and living(aws, "inst-25") == []


def test_a_damaged_ledger_does_not_keep_an_instance_alive(aws: Aws) -> None:
    run = Run(aws, "inst-26")
    ref = launch(run, planned(run))
    run.ledger.path.write_bytes(run.ledger.path.read_bytes().replace(b"instance", b"inst@nce", 1))
    assert end_instances(Run(aws, "inst-26")) == (ref.instance_id,)
    assert living(aws, "inst-26") == []


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_longest_run_id_still_gives_a_token_that_ec2_takes(aws: Aws) -> None:
    run = Run(aws, "a" * 24)
    plan = dataclasses.replace(planned(Run(aws, "a" * 24)), number=20)
    ref = launch(run, plan)
    (found,) = living(aws, "a" * 24)
    assert found["InstanceId"] == ref.instance_id and len(found["ClientToken"]) <= 64
    assert naming.NUMBER_TAG in {tag["Key"] for tag in found["Tags"]}


# --- several at once --------------------------------------------------------------------------------------------------


def test_when_one_of_several_cannot_be_launched_the_others_are_known_and_end(aws: Aws) -> None:
    run = Run(aws, "inst-several")
    good = planned(run)
    bad = planned(run, candidates=choose_instances(finetune=False, requested="x9z.metal"), number=2)
    noted: list[InstanceRef] = []

    with pytest.raises(KennelError, match=r"x9z\.metal") as refused:
        launch_all(run, [good, bad], note=noted.append)

    assert not isinstance(refused.value, WaitTimedOut)
    assert [ref.number for ref in noted] in ([], [1])
    assert "intended" not in states(run), "each launch came to its answer"
    end_instances(run)
    assert living(aws, "inst-several") == []


def test_workers_are_not_launched_beside_instances_of_another_plan(aws: Aws) -> None:
    run = Run(aws, "inst-beside")
    plan = planned(run)
    launch(run, plan)
    worker = planned(run, number=21)
    refuse_other_plans(aws, [plan], numbers=range(1, 21))
    refuse_other_plans(aws, [worker], numbers=range(1, 121))
    refuse_other_plans(aws, [worker])
    with pytest.raises(OwnershipRefused, match="launched from another plan"):
        refuse_other_plans(aws, [worker], numbers=range(21, 121))
    end_instances(run)
