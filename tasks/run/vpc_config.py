"""The subnets and security groups of training jobs, models and functions, in AWS's forms, and the rights needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tasks.run.sealed import parse_given_json

SAGEMAKER_VPC_ACTIONS = (
    *("CreateNetworkInterface", "CreateNetworkInterfacePermission", "DeleteNetworkInterface"),
    *("DeleteNetworkInterfacePermission", "DescribeNetworkInterfaces", "DescribeVpcs", "DescribeDhcpOptions"),
    *("DescribeSubnets", "DescribeSecurityGroups"),
)
"""What a role of SageMaker's needs of EC2 in a VPC: https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html."""
LAMBDA_VPC_ACTIONS = (
    *("CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets", "DeleteNetworkInterface"),
    *("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"),
)
"""What the managed policy AWSLambdaVPCAccessExecutionRole allows of EC2."""

_IDS = {"Subnets": "subnet", "SecurityGroupIds": "sg"}


@dataclass(frozen=True)
class VpcConfig:
    """Subnets and security groups by their ids, in the order in which they were named."""

    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, text: str) -> VpcConfig:
        """Return what a VpcConfig of SageMaker names.

        Raises:
            ValueError: it is no such JSON.
        """
        given = parse_given_json(text)
        if not isinstance(given, dict) or set(given) != set(_IDS):
            raise ValueError('it has to be {"Subnets": ["subnet-..."], "SecurityGroupIds": ["sg-..."]}')
        return cls(*(_ids(name, given[name]) for name in _IDS))

    @property
    def sagemaker(self) -> dict[str, list[str]]:
        """VpcConfig of CreateTrainingJob and CreateModel."""
        return {"Subnets": list(self.subnets), "SecurityGroupIds": list(self.security_groups)}

    @property
    def function(self) -> dict[str, list[str]]:
        """VpcConfig of CreateFunction."""
        return {"SubnetIds": list(self.subnets), "SecurityGroupIds": list(self.security_groups)}


def read_vpc_config(text: str | None) -> str | None:
    """Return the JSON of a VpcConfig as it is, if it can be read.

    Raises:
        ValueError: it cannot.
    """
    if text is not None:
        VpcConfig.of_json(text)
    return text


def _ids(name: str, given: Any) -> tuple[str, ...]:
    pattern = re.compile(rf"{_IDS[name]}-([0-9a-f]{{8}}|[0-9a-f]{{17}})")
    if not isinstance(given, list) or not all(isinstance(each, str) and pattern.fullmatch(each) for each in given):
        raise ValueError(f"{name} has to be a list of ids such as {_IDS[name]}-0123456789abcdef0")
    return tuple(given)
