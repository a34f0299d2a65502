"""The VPC that a training job, a model or a function is to be in: what it names exists, and the role may join it.

Reads EC2's state in moto. Where a process's packets go is not changed by it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from localaws.core import Core
from localaws.errors import AwsError
from localaws.permissions.roles import Role

OF_SAGEMAKER = (
    *("CreateNetworkInterface", "CreateNetworkInterfacePermission", "DeleteNetworkInterface"),
    *("DeleteNetworkInterfacePermission", "DescribeNetworkInterfaces", "DescribeVpcs", "DescribeDhcpOptions"),
    *("DescribeSubnets", "DescribeSecurityGroups"),
)
"""https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html, "If you specify a private VPC"."""
OF_LAMBDA = (
    *("CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets", "DeleteNetworkInterface"),
    *("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"),
)
"""AWS's managed policy AWSLambdaVPCAccessExecutionRole."""


NO_INTERFACE = "We encountered an internal error.  Please try again."
"""What SageMaker says when the role may not make an interface: https://github.com/aws/sagemaker-python-sdk/issues/3026"""


def vpc_of(core: Core, region: str, subnets: Sequence[str], groups: Sequence[str]) -> str:
    """Return the id of the VPC that all the subnets and groups are in.

    Raises:
        AwsError: EC2's refusal of an id that does not exist; InvalidParameterValue for those of several VPCs.
    """
    core.prepare("ec2")
    from moto.ec2.models import ec2_backends

    ec2: Any = ec2_backends[core.settings.account_id][region]
    of_subnets = [_vpc_of_subnet(ec2, each) for each in subnets]
    found = {*of_subnets, *(_vpc_of_group(ec2, each) for each in groups)}
    if len(found) != 1:
        raise AwsError("InvalidParameterValue", "Security Groups are required to be in the same VPC.")
    return found.pop()


def may_join(role: Role, actions: Iterable[str]) -> bool:
    """Decide and record what a service asks of EC2 in a role's name for a network interface; all of it is needed."""
    decisions = [role.may(f"ec2:{each}", "*") for each in actions]
    return all(decisions)


def members(config: Mapping[str, Any] | None, subnets: str) -> tuple[list[str], list[str]]:
    """Return the subnets and groups of a VpcConfig, whose member for the subnets has this name."""
    given = config or {}
    return list(given.get(subnets) or ()), list(given.get("SecurityGroupIds") or ())


def _vpc_of_subnet(ec2: Any, subnet_id: str) -> str:
    zone = next((zone for zone in list(ec2.subnets.values()) if subnet_id in zone), None)
    if zone is None:
        raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
    return str(zone[subnet_id].vpc_id)


def _vpc_of_group(ec2: Any, group_id: str) -> str:
    vpc_id = next((vpc_id for vpc_id, groups in list(ec2.groups.items()) if group_id in groups), None)
    if vpc_id is None:
        raise AwsError("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
    return str(vpc_id)
