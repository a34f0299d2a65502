"""The network that a run is to use is looked at before anything is made."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.account.network import ec2_network, require_network
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, SettingsRefused
from tasks.run.options import Network
from tests.conftest import RunningLocalAws, running_localaws
from tests.tasks.ec2.instances import account
from tests.vpcs import Vpc, make_vpc

NOWHERE = "subnet-0123456789abcdef0"


@pytest.fixture(scope="module")
def aws(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return account(localaws.url, tmp_path_factory.mktemp("network"))


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    """What kennel says is kept, whatever ran before."""
    caplog.set_level("INFO", "kennel")


@pytest.fixture
def vpc(localaws: RunningLocalAws) -> Vpc:
    return make_vpc(localaws.client("ec2"), "a", "b")


def network(vpc: Vpc) -> Network:
    return Network(subnets=vpc.subnets, security_groups=(vpc.group,))


def lines(caplog: pytest.LogCaptureFixture) -> str:
    """Return what was said since the last time."""
    said = caplog.text
    caplog.clear()
    return said


def test_a_network_is_named_by_ids_or_as_sagemakers_json() -> None:
    text = '{"Subnets": ["subnet-01234567"], "SecurityGroupIds": ["sg-01234567"]}'
    by_json, by_ids = Network(vpc_config=text), Network(subnets=("subnet-01234567",), security_groups=("sg-01234567",))
    assert by_json.vpc == by_ids.vpc
    assert Network().vpc is None


@pytest.mark.parametrize(
    "text", ["[]", "subnet-01234567", '{"Subnets": "subnet-01234567"}', '{"Subnets": ["x"], "SecurityGroupIds": []}']
)
def test_json_that_is_no_vpc_config_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Network(vpc_config=text)


def test_a_vpc_config_with_a_name_twice_is_refused_by_the_name() -> None:
    text = '{"Subnets": ["subnet-01234567"], "Subnets": ["subnet-76543210"], "SecurityGroupIds": ["sg-01234567"]}'
    with pytest.raises(ValidationError, match="'Subnets' is given twice"):
        Network(vpc_config=text)


def test_a_subnet_or_group_that_does_not_exist_is_told(aws: Aws, vpc: Vpc) -> None:
    with pytest.raises(SettingsRefused, match=f"{NOWHERE} does not exist"):
        require_network(aws, Network(subnets=(*vpc.subnets, NOWHERE), security_groups=(vpc.group,)))
    with pytest.raises(SettingsRefused, match="sg-0123456789abcdef0 does not exist"):
        require_network(aws, Network(subnets=vpc.subnets, security_groups=("sg-0123456789abcdef0",)))


def test_subnets_and_groups_of_several_vpcs_are_refused(aws: Aws, vpc: Vpc, localaws: RunningLocalAws) -> None:
    other = make_vpc(localaws.client("ec2"))
    with pytest.raises(SettingsRefused, match="not of one VPC"):
        require_network(aws, Network(subnets=vpc.subnets, security_groups=(other.group,)))


def test_sagemaker_needs_a_group_and_every_use_a_subnet(aws: Aws, vpc: Vpc) -> None:
    with pytest.raises(SettingsRefused, match="without a security group"):
        require_network(aws, Network(subnets=vpc.subnets))
    require_network(aws, Network(subnets=vpc.subnets), ec2_types=["c7i.xlarge"], uses_sagemaker=False)
    with pytest.raises(SettingsRefused, match="without a subnet"):
        require_network(aws, Network(security_groups=(vpc.group,)))


def test_a_type_is_launched_in_the_zones_that_offer_it(aws: Aws, vpc: Vpc, localaws: RunningLocalAws) -> None:
    placed = ec2_network(aws, network(vpc), ["c7i.xlarge", "m1.medium"])
    assert placed.subnets_of("c7i.xlarge") == vpc.subnets
    assert (placed.vpc_id, placed.security_groups) == (vpc.vpc_id, (vpc.group,))
    with pytest.raises(SettingsRefused, match=r"none of the subnets is in a zone that offers p9\.large"):
        require_network(aws, network(vpc), ec2_types=["p9.large"])


def test_subnets_where_ssh_cannot_reach_an_instance_are_left_out(aws: Aws, vpc: Vpc, localaws: RunningLocalAws) -> None:
    closed = {"SubnetId": vpc.subnets[0], "MapPublicIpOnLaunch": {"Value": False}}
    localaws.client("ec2").modify_subnet_attribute(**closed)
    assert ec2_network(aws, network(vpc), ["c7i.xlarge"]).subnets_of("c7i.xlarge") == vpc.subnets[1:]
    with pytest.raises(SettingsRefused, match="no public addresses are assigned there") as refused:
        require_network(aws, Network(subnets=vpc.subnets[:1], security_groups=(vpc.group,)), ec2_types=["c7i.xlarge"])
    assert "--map-public-ip-on-launch" in refused.value.next_command


# --- the ways out -----------------------------------------------------------------------------------------------------


def test_a_vpc_without_a_way_to_s3_is_warned_of(aws: Aws, vpc: Vpc, caplog: pytest.LogCaptureFixture) -> None:
    require_network(aws, network(vpc))
    said = lines(caplog)
    assert "no way to S3" in said and "create-vpc-endpoint" in said and "no way to the internet" in said


def test_an_endpoint_for_s3_is_a_way_and_an_internet_gateway_is_none(
    aws: Aws, vpc: Vpc, caplog: pytest.LogCaptureFixture
) -> None:
    ec2 = aws.client("ec2")
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc.vpc_id]}])["RouteTables"][0]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc.vpc_id)
    route = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "0.0.0.0/0"}
    ec2.create_route(**route, GatewayId=gateway)
    require_network(aws, network(vpc))
    assert "no way to S3" in lines(caplog)

    ec2.create_vpc_endpoint(
        VpcId=vpc.vpc_id, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[table["RouteTableId"]]
    )
    require_network(aws, network(vpc))
    said = lines(caplog)
    assert "no way to S3" not in said and "no way to the internet" in said


def test_a_nat_is_a_way_to_everything(aws: Aws, vpc: Vpc, caplog: pytest.LogCaptureFixture) -> None:
    ec2 = aws.client("ec2")
    nat = ec2.create_nat_gateway(SubnetId=vpc.subnets[0], ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=vpc.vpc_id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    for subnet in vpc.subnets:
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    require_network(aws, network(vpc))
    assert "WARNING" not in lines(caplog)


# --- no default VPC ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An account without a default VPC."""
    with running_localaws() as server:
        ec2 = server.client("ec2")
        (default,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [default["VpcId"]]}])["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        aws = account(server.url, tmp_path_factory.mktemp("bare"))
        with pytest.raises(NotFound, match="has no default subnet"):
            require_network(aws, Network(), ec2_types=["c7i.xlarge"])
        ec2.delete_vpc(VpcId=default["VpcId"])
        yield aws


def test_without_a_default_vpc_only_ec2_is_refused_and_a_subnet_helps(bare: Aws, tmp_path: Path) -> None:
    require_network(bare, Network())
    with pytest.raises(NotFound, match="has none") as refused:
        require_network(bare, Network(), ec2_types=["c7i.xlarge"])
    assert "create-default-vpc" in refused.value.next_command and "--subnet" in refused.value.next_command
    own = make_vpc(bare.client("ec2"))
    require_network(bare, network(own), ec2_types=["c7i.xlarge"])
