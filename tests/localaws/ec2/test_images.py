"""Images and VPCs: what is described can be launched, by id or by SSM's name; and what an instance says that it is."""

import uuid
from collections.abc import Iterator

import pytest

from localaws.ec2.images import PUBLISHED
from tests.conftest import RunningLocalAws
from tests.localaws.ec2.ec2_rooms import IMAGE_PARAMETER, Ec2Room, refused
from tests.polling import wait_until

NOBLE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
TELL = "#!/bin/sh\n. /etc/os-release; echo says $ID $VERSION_ID; cat /etc/debian_version /etc/issue\n"


@pytest.fixture
def room(localaws: RunningLocalAws) -> Iterator[Ec2Room]:
    with Ec2Room(localaws) as room:
        yield room


def test_every_image_that_is_described_can_be_launched(room: Ec2Room) -> None:
    described = {each["ImageId"] for each in room.ec2.describe_images()["Images"]}
    assert described == {each.ami_id for each in PUBLISHED}
    for image_id in described:
        with refused("DryRunOperation"):
            room.run(ImageId=image_id, DryRun=True)


def test_an_instance_is_launched_from_a_parameter_and_says_its_images_system(room: Ec2Room) -> None:
    instance = room.running(ImageId=f"resolve:ssm:{NOBLE}", UserData=TELL)
    assert instance["ImageId"] == room.server.client("ssm").get_parameter(Name=NOBLE)["Parameter"]["Value"]

    def console() -> str:
        return str(room.ec2.get_console_output(InstanceId=instance["InstanceId"])["Output"])

    said = wait_until(console, "the release", holds=lambda said: "says ubuntu 24.04" in said)
    assert "trixie/sid" in said and "Ubuntu 24.04" in said and "Debian GNU" not in said


@pytest.mark.parametrize(
    ("reference", "code", "text"),
    [
        ("/not/there", "InvalidParameterValue", "/not/there does not exist"),
        ("TEXT", "SsmInvalidParameter", "Unsupported data type. The following parameter data types are supported"),
    ],
)
def test_a_parameter_that_holds_no_image_is_refused(room: Ec2Room, reference: str, code: str, text: str) -> None:
    if reference == "TEXT":
        reference = f"/{uuid.uuid4().hex}"
        room.server.client("ssm").put_parameter(Name=reference, Value="x", Type="String")
    with refused(code, text):
        room.run(ImageId=f"resolve:ssm:{reference}")


def test_only_launches_resolve_a_parameter(room: Ec2Room) -> None:
    with refused("InvalidAMIID.Malformed", "resolve:ssm"):
        room.ec2.describe_images(ImageIds=[f"resolve:ssm:{IMAGE_PARAMETER}"])


def test_amazons_image_is_deregistered_by_nobody_else(room: Ec2Room) -> None:
    with refused("AuthFailure", f"Not authorized for image:{room.image}"):
        room.ec2.deregister_image(ImageId=room.image)
    with refused("InvalidAMIID.NotFound", "does not exist"):
        room.ec2.deregister_image(ImageId="ami-0123456789abcdef0")
    assert room.ec2.describe_images(ImageIds=[room.image])["Images"]


def test_a_vpc_is_deleted_with_its_default_group_and_not_while_something_is_in_it(room: Ec2Room) -> None:
    vpc = room.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = room.ec2.create_security_group(GroupName=room.name(), Description="d", VpcId=vpc)["GroupId"]
    subnet = room.ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    with refused("DependencyViolation", f"The vpc '{vpc}' has dependencies and cannot be deleted."):
        room.ec2.delete_vpc(VpcId=vpc)
    room.ec2.delete_security_group(GroupId=group)
    with refused("DependencyViolation"):
        room.ec2.delete_vpc(VpcId=vpc)
    of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    (default,) = room.ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"]
    with refused("CannotDelete"):
        room.ec2.delete_security_group(GroupId=default["GroupId"])
    room.ec2.delete_subnet(SubnetId=subnet)
    room.ec2.delete_vpc(VpcId=vpc)
    assert room.ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"] == []
    with refused("InvalidVpcID.NotFound"):
        room.ec2.delete_vpc(VpcId=vpc)
