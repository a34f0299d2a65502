"""EC2 instances through boto3: what RunInstances checks, and states that follow the machine."""

import base64
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.localaws.ec2.ec2_rooms import IMAGE_PARAMETER, Ec2Room, refused
from tests.localaws.roles import make_role
from tests.polling import wait_until

SCRIPT = "#!/bin/sh\n"


@pytest.fixture
def room(localaws: RunningLocalAws) -> Iterator[Ec2Room]:
    with Ec2Room(localaws) as room:
        yield room


@pytest.fixture(scope="module")
def running(localaws: RunningLocalAws) -> Iterator[dict[str, Any]]:
    """One instance that runs, for the tests that only look."""
    with Ec2Room(localaws) as room:
        yield _launch_to_look_at(room)


def _launch_to_look_at(room: Ec2Room) -> dict[str, Any]:
    return room.running(
        SecurityGroupIds=[room.group(22)],
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 100, "Encrypted": True}}],
        MetadataOptions={"HttpTokens": "required"},
        UserData=f"{SCRIPT}echo a line for the console\n",
        TagSpecifications=[
            {"ResourceType": kind, "Tags": [{"Key": "room", "Value": "looked-at"}]} for kind in ("instance", "volume")
        ],
    )


# --- images -----------------------------------------------------------------------------------------------------------


def test_the_image_behind_the_parameter_of_aws_is_one_that_is_described(room: Ec2Room) -> None:
    (image,) = room.ec2.describe_images(ImageIds=[room.image])["Images"]
    assert (image["State"], image["Architecture"], image["ImageOwnerAlias"]) == ("available", "x86_64", "amazon")
    assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 75


def test_the_servers_region_is_the_one_that_is_enabled(room: Ec2Room) -> None:
    assert [each["RegionName"] for each in room.ec2.describe_regions()["Regions"]] == ["us-east-1"]
    every = {each["RegionName"]: each["OptInStatus"] for each in room.ec2.describe_regions(AllRegions=True)["Regions"]}
    assert (every["us-east-1"], every["eu-west-1"]) == ("opt-in-not-required", "not-opted-in")


def test_the_parameters_of_images_are_listed_by_path(room: Ec2Room) -> None:
    path = "/aws/service/deeplearning/ami/x86_64"
    pages = room.server.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True)
    found = {each["Name"]: each["Value"] for page in pages for each in page["Parameters"]}
    assert found[IMAGE_PARAMETER] == room.image
    assert f"{path}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id" in found
    own = room.server.client("ssm").get_paginator("describe_parameters").paginate()
    assert not [each for page in own for each in page["Parameters"] if each["Name"].startswith("/aws/")]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound", "'[ami-0123456789abcdef0]' does not exist"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed", 'Invalid id: "nonsense"'),
        ({"InstanceType": "c5.nope"}, "InvalidParameterValue", "Invalid value 'c5.nope' for InstanceType."),
        ({"InstanceType": "m6g.large"}, "InvalidParameterValue", "does not match the architecture 'x86_64'"),
        ({"KeyName": "lost"}, "InvalidKeyPair.NotFound", "The key pair 'lost' does not exist"),
        ({"SecurityGroupIds": ["sg-lost"]}, "InvalidGroup.NotFound", "The security group 'sg-lost' does not exist"),
        ({"SubnetId": "subnet-lost"}, "InvalidSubnetID.NotFound", "'subnet-lost' does not exist"),
        ({"IamInstanceProfile": {"Name": "lost"}}, "InvalidParameterValue", "Invalid IAM Instance Profile name"),
        ({"MinCount": 2, "MaxCount": 1}, "InvalidParameterValue", "minCount"),
        ({"MinCount": 21, "MaxCount": 21}, "InstanceLimitExceeded", "instance limit of 20"),
        ({"UserData": "x" * 16_385}, "InvalidParameterValue", "User data is limited to 16384 bytes"),
        ({"Placement": {"AvailabilityZone": "us-east-1e"}}, "Unsupported", "choosing us-east-1a, us-east-1b"),
        (
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8}}]},
            "InvalidBlockDeviceMapping",
            "expect size >= 75GB",
        ),
        (
            {"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "k", "Value": "v"}]}]},
            "InvalidParameterValue",
            "'vpc' is not a valid taggable resource type",
        ),
    ],
)
def test_a_request_that_ec2_would_refuse_is_refused_in_its_words(
    room: Ec2Room, changes: dict[str, Any], code: str, text: str
) -> None:
    with refused(code, text):
        room.launch(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"HibernationOptions": {"Configured": True}}, "HibernationOptions={'Configured': True} of RunInstances"),
        ({"CreditSpecification": {"CpuCredits": "standard"}}, "CreditSpecification="),
        ({"MetadataOptions": {"HttpEndpoint": "disabled"}}, "MetadataOptions.HttpEndpoint='disabled'"),
        ({"Placement": {"Tenancy": "dedicated"}}, "Placement.Tenancy='dedicated'"),
    ],
)
def test_a_parameter_that_is_not_emulated_is_refused_by_name(room: Ec2Room, changes: dict[str, Any], text: str) -> None:
    with refused("UnsupportedOperation", text):
        room.launch(**changes)


def test_operations_that_no_machine_would_follow_are_refused_by_name(room: Ec2Room) -> None:
    for operation, parameters in (
        ("request_spot_instances", {}),
        ("associate_address", {}),
        ("describe_spot_price_history", {}),
        ("create_image", {"InstanceId": "i-0123456789abcdef0", "Name": "mine"}),
        ("attach_volume", {"Device": "/dev/sdf", "InstanceId": "i-0123456789abcdef0", "VolumeId": "vol-1"}),
    ):
        name = "".join(part.capitalize() for part in operation.split("_"))
        with refused("UnsupportedOperation", f"localaws does not emulate EC2 {name}."):
            getattr(room.ec2, operation)(**parameters)


def test_a_profile_without_a_role_is_refused(room: Ec2Room) -> None:
    iam, name = room.server.client("iam"), room.name()
    iam.create_instance_profile(InstanceProfileName=name)
    with refused("InvalidParameterValue", f'instance-profile/{name}" has no associated IAM Roles'):
        room.launch(IamInstanceProfile={"Name": name})


def test_a_dry_run_checks_and_launches_nothing(room: Ec2Room) -> None:
    token = uuid.uuid4().hex
    with refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set."):
        room.launch(DryRun=True, ClientToken=token)
    with refused("InvalidKeyPair.NotFound"):
        room.launch(DryRun=True, KeyName="lost")
    assert room.ec2.describe_instances(Filters=[{"Name": "client-token", "Values": [token]}])["Reservations"] == []


# --- launching --------------------------------------------------------------------------------------------------------


def test_a_new_instance_is_pending_and_runs_when_its_machine_answers(room: Ec2Room) -> None:
    (new,) = room.run(SecurityGroupIds=[room.group(22)])
    instance_id = new["InstanceId"]
    assert new["State"] == {"Code": 0, "Name": "pending"}
    described = room.until(instance_id, "running")
    assert room.is_open(described["PublicIpAddress"])
    (status,) = room.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert (status["InstanceStatus"]["Status"], status["SystemStatus"]["Status"]) == ("ok", "ok")


def test_one_client_token_launches_once_whoever_asks(room: Ec2Room) -> None:
    token = uuid.uuid4().hex
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: room.launch(ClientToken=token), range(4)))
    assert len(found) == 1
    with refused("IdempotentParameterMismatch", "inconsistent with arguments used in previous request"):
        room.launch(ClientToken=token, InstanceType="c5.xlarge")
    room.ec2.terminate_instances(InstanceIds=list(found))
    room.until(next(iter(found)), "terminated")
    with refused("IdempotentInstanceTerminated", "associated with a terminated instance"):
        room.launch(ClientToken=token)


def test_volumes_are_as_asked_for_and_tagged(room: Ec2Room, running: dict[str, Any]) -> None:
    wanted = [{"Name": "attachment.instance-id", "Values": [running["InstanceId"]]}]
    (volume,) = room.ec2.describe_volumes(Filters=wanted)["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Encrypted"], volume["State"]) == (100, "gp3", True, "in-use")
    assert volume["Tags"] == [{"Key": "room", "Value": "looked-at"}]
    assert volume["Attachments"][0]["DeleteOnTermination"] is True


def test_the_description_has_the_machines_addresses_and_options(room: Ec2Room, running: dict[str, Any]) -> None:
    assert running["PublicIpAddress"].startswith("127.")
    assert running["PrivateIpAddress"].startswith("172.31.")
    assert running["MetadataOptions"]["HttpTokens"] == "required"
    (interface,) = running["NetworkInterfaces"]
    assert (interface["PrivateIpAddress"], interface["Association"]["PublicIp"]) == (
        running["PrivateIpAddress"],
        running["PublicIpAddress"],
    )


def test_an_instance_with_a_profile_names_it(room: Ec2Room) -> None:
    iam, name = room.server.client("iam"), room.name()
    make_role(iam, name, "ec2")
    arn = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    by_name, by_arn = room.launch(IamInstanceProfile={"Name": name}), room.launch(IamInstanceProfile={"Arn": arn})
    assert [room.describe(each)["IamInstanceProfile"]["Arn"] for each in (by_name, by_arn)] == [arn, arn]


def test_an_interface_of_the_request_can_forgo_the_public_address(room: Ec2Room) -> None:
    group = room.group(22)
    interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": False, "Groups": [group]}
    described = room.running(NetworkInterfaces=[interface])
    assert "PublicIpAddress" not in described
    assert described["SecurityGroups"][0]["GroupId"] == group


# --- finding ----------------------------------------------------------------------------------------------------------


def test_filters_find_by_tag_token_and_state(room: Ec2Room, running: dict[str, Any]) -> None:
    def found(**filters: str) -> list[str]:
        wanted = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        pages = room.ec2.get_paginator("describe_instances").paginate(Filters=wanted)
        return [each["InstanceId"] for page in pages for row in page["Reservations"] for each in row["Instances"]]

    assert found(**{"tag:room": "looked-*", "instance_state_name": "running"}) == [running["InstanceId"]]
    assert found(client_token=running["ClientToken"]) == [running["InstanceId"]]
    assert found(**{"tag:room": "looked-at", "instance_state_name": "stopped"}) == []
    with refused("InvalidParameterValue", "The filter 'colour' is invalid"):
        found(colour="blue")


def test_instances_come_in_pages_each_once(room: Ec2Room, running: dict[str, Any]) -> None:
    room.launch_all(MinCount=6, MaxCount=6)
    pages = room.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    sizes, found = [], []
    for page in pages:
        ids = [each["InstanceId"] for row in page["Reservations"] for each in row["Instances"]]
        sizes.append(len(ids))
        found += ids
    assert len(sizes) > 1
    assert max(sizes) == 5
    assert len(set(found)) == len(found)
    assert running["InstanceId"] in found
    with refused("InvalidParameterValue", "Value ( 4 ) for parameter maxResults is invalid"):
        room.ec2.describe_instances(MaxResults=4)


def test_tags_can_be_added_later(room: Ec2Room, running: dict[str, Any]) -> None:
    room.ec2.create_tags(Resources=[running["InstanceId"]], Tags=[{"Key": "later", "Value": "yes"}])
    assert {"Key": "later", "Value": "yes"} in room.describe(running["InstanceId"])["Tags"]


def test_the_console_has_what_user_data_wrote(room: Ec2Room, running: dict[str, Any]) -> None:
    def output() -> str:
        text: str = room.ec2.get_console_output(InstanceId=running["InstanceId"]).get("Output", "")
        return text

    wait_until(lambda: "a line for the console" in output(), "the line on the console")


def test_attributes_are_shown_and_changed(room: Ec2Room, running: dict[str, Any]) -> None:
    def attribute(name: str) -> Any:
        reply = room.ec2.describe_instance_attribute(InstanceId=running["InstanceId"], Attribute=name)
        return reply[name[0].upper() + name[1:]]["Value"]

    assert base64.b64decode(attribute("userData")).startswith(SCRIPT.encode())
    assert attribute("instanceInitiatedShutdownBehavior") == "stop"
    room.ec2.modify_instance_attribute(
        InstanceId=running["InstanceId"], InstanceInitiatedShutdownBehavior={"Value": "terminate"}
    )
    assert attribute("instanceInitiatedShutdownBehavior") == "terminate"
    with refused("UnsupportedOperation", "of ModifyInstanceAttribute"):
        room.ec2.modify_instance_attribute(InstanceId=running["InstanceId"], UserData={"Value": b"new"})


# --- power ------------------------------------------------------------------------------------------------------------


def test_an_instance_stops_starts_and_is_reached_again(room: Ec2Room) -> None:
    described = room.running(SecurityGroupIds=[room.group(22)])
    instance_id, address = described["InstanceId"], described["PublicIpAddress"]
    (change,) = room.ec2.stop_instances(InstanceIds=[instance_id])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    stopped = room.until(instance_id, "stopped")
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert stopped["StateTransitionReason"].startswith("User initiated (20")
    assert "PublicIpAddress" not in stopped
    assert not room.is_open(address)
    with refused("IncorrectInstanceState", "is not in a state from which it can be rebooted"):
        room.ec2.reboot_instances(InstanceIds=[instance_id])
    room.ec2.start_instances(InstanceIds=[instance_id])
    again = room.until(instance_id, "running")
    assert room.is_open(again["PublicIpAddress"])
    assert again["StateTransitionReason"] == ""


def test_a_reboot_ends_the_sessions_and_the_instance_answers_again(room: Ec2Room) -> None:
    described = room.running(SecurityGroupIds=[room.group(22)])
    instance_id = described["InstanceId"]

    def status() -> str:
        (row,) = room.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
        found: str = row["InstanceStatus"]["Status"]
        return found

    room.ec2.reboot_instances(InstanceIds=[instance_id])
    assert room.state(instance_id) == "running"
    wait_until(lambda: status() == "ok", "the checks pass again")
    assert room.is_open(described["PublicIpAddress"])


def test_an_instance_that_is_pending_cannot_be_stopped(room: Ec2Room) -> None:
    for _ in range(5):  # it is pending for some tenths of a second only
        instance_id = room.launch()
        try:
            (change,) = room.ec2.stop_instances(InstanceIds=[instance_id])["StoppingInstances"]
        except ClientError as error:
            assert error.response["Error"]["Code"] == "IncorrectInstanceState"
            assert f"'{instance_id}' is not in a state from which it can be stopped." in str(error)
            return
        assert change["PreviousState"]["Name"] == "running"
    raise AssertionError("no instance was found pending")


def test_an_instance_that_is_pending_can_be_terminated(room: Ec2Room) -> None:
    instance_id = room.launch()
    room.ec2.terminate_instances(InstanceIds=[instance_id])
    ended = room.until(instance_id, "terminated")
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_one_wrong_id_and_none_is_terminated(room: Ec2Room, running: dict[str, Any]) -> None:
    with refused("InvalidInstanceID.NotFound", "The instance ID 'i-0123456789abcdef0' does not exist"):
        room.ec2.terminate_instances(InstanceIds=[running["InstanceId"], "i-0123456789abcdef0"])
    with refused("InvalidInstanceID.Malformed", 'Invalid id: "i-1"'):
        room.ec2.terminate_instances(InstanceIds=[running["InstanceId"], "i-1"])
    assert room.state(running["InstanceId"]) == "running"


def test_termination_takes_volumes_interface_and_address_and_can_be_repeated(room: Ec2Room) -> None:
    described = room.running(SecurityGroupIds=[room.group(22)])
    instance_id, address = described["InstanceId"], described["PublicIpAddress"]
    (change,) = room.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert change["CurrentState"]["Name"] == "shutting-down"
    ended = room.until(instance_id, "terminated")
    assert ended["StateReason"]["Message"] == "Client.UserInitiatedShutdown: User initiated shutdown"
    assert (ended["BlockDeviceMappings"], ended["NetworkInterfaces"], ended["SecurityGroups"]) == ([], [], [])
    assert not room.is_open(address)
    assert (
        room.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
        == []
    )
    (again,) = room.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert (again["PreviousState"]["Name"], again["CurrentState"]["Name"]) == ("terminated", "terminated")


def test_a_protected_instance_is_not_terminated(room: Ec2Room) -> None:
    instance_id = room.launch(DisableApiTermination=True)
    with refused("OperationNotPermitted", "Modify its 'disableApiTermination' instance attribute"):
        room.ec2.terminate_instances(InstanceIds=[instance_id])


@pytest.mark.parametrize(("behavior", "end"), [("stop", "stopped"), ("terminate", "terminated")])
def test_an_instance_that_shuts_itself_down_does_what_its_behavior_says(room: Ec2Room, behavior: str, end: str) -> None:
    instance_id = room.launch(
        UserData=f"{SCRIPT}sleep 1; shutdown -h now\n", InstanceInitiatedShutdownBehavior=behavior
    )
    described = room.until(instance_id, "stopped", "terminated")
    assert described["State"]["Name"] == end
    assert described["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_the_console_is_there_after_the_end(room: Ec2Room) -> None:
    instance_id = room.launch(
        UserData=f"{SCRIPT}echo last words; shutdown -h now\n", InstanceInitiatedShutdownBehavior="terminate"
    )
    room.until(instance_id, "terminated")
    assert "last words" in room.ec2.get_console_output(InstanceId=instance_id)["Output"]


def test_waiters_of_boto3_see_the_states(room: Ec2Room) -> None:
    instance_id = room.launch()
    settings = {"Delay": 1, "MaxAttempts": 30}
    for waiter, call in (
        ("instance_running", room.ec2.stop_instances),
        ("instance_stopped", room.ec2.terminate_instances),
        ("instance_terminated", None),
    ):
        room.ec2.get_waiter(waiter).wait(InstanceIds=[instance_id], WaiterConfig=settings)
        if call is not None:
            call(InstanceIds=[instance_id])
