"""An account whose default VPC was deleted, as many companies do: what needs one is refused until it is made again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.account.network import ec2_network
from tasks.run.errors import NotFound
from tasks.run.options import Network
from tests.conftest import RunningLocalAws, running_localaws
from tests.localaws.ec2.ec2_rooms import Ec2Room, refused
from tests.tasks.ec2.instances import account

pytestmark = pytest.mark.strict

NONE = "No default VPC for this user"


@pytest.fixture(scope="module")
def bare() -> Iterator[RunningLocalAws]:
    with running_localaws("--no-default-vpc") as server:
        yield server


def test_instances_and_groups_need_a_vpc_that_is_named(bare: RunningLocalAws) -> None:
    with Ec2Room(bare) as room:
        assert room.ec2.describe_vpcs()["Vpcs"] == []
        with refused("VPCIdNotSpecified", NONE):
            room.launch()
        with refused("VPCIdNotSpecified", NONE):
            room.group()


def test_kennel_says_so_with_the_command_that_makes_one_and_launches_nothing(
    bare: RunningLocalAws, tmp_path: Path
) -> None:
    aws = account(bare.url, tmp_path)

    with pytest.raises(NotFound, match="us-east-1 has none") as told:
        ec2_network(aws, Network(), [])

    assert told.value.next_command.startswith(f"aws --endpoint-url {bare.url} ec2 create-default-vpc; or ")
    assert aws.client("ec2").describe_instances()["Reservations"] == []


def test_a_default_vpc_that_is_made_later_is_used(bare: RunningLocalAws) -> None:
    with Ec2Room(bare) as room:
        made = room.ec2.create_default_vpc()["Vpc"]
        with refused("DryRunOperation"):
            room.launch(DryRun=True)
        group = room.group()
        assert room.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["VpcId"] == made["VpcId"]
