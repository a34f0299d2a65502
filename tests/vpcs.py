"""A VPC of one's own in a localaws: subnets in named zones and a security group."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Vpc:
    """A VPC, its subnets by zone, and a group in it."""

    vpc_id: str
    subnets: tuple[str, ...]
    group: str

    @property
    def sagemaker(self) -> dict[str, list[str]]:
        """As CreateTrainingJob and CreateModel take it."""
        return {"Subnets": list(self.subnets), "SecurityGroupIds": [self.group]}

    @property
    def function(self) -> dict[str, list[str]]:
        """As CreateFunction takes it."""
        return {"SubnetIds": list(self.subnets), "SecurityGroupIds": [self.group]}


def make_vpc(ec2: Any, *zones: str, gives_addresses: bool = True) -> Vpc:
    """Make a VPC with a subnet in each of the zones ("a", "b"; one in a) and a group."""
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = []
    for number, zone in enumerate(zones or ("a",)):
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")
        subnets.append(made["Subnet"]["SubnetId"])
        ec2.modify_subnet_attribute(SubnetId=subnets[-1], MapPublicIpOnLaunch={"Value": gives_addresses})
    group = ec2.create_security_group(GroupName="jobs", Description="a test's", VpcId=vpc)["GroupId"]
    return Vpc(vpc, tuple(subnets), group)
