"""VpcConfig of CreateFunction and UpdateFunctionConfiguration: checked as Lambda checks it, and described.

Sources of the texts: https://github.com/appleboy/lambda-action/issues/72, https://github.com/aws/aws-sam-cli/issues/617,
https://github.com/smoketurner/serverless-vpc-plugin/issues/765, https://github.com/localstack/localstack/pull/12293
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localaws.core import Core
from localaws.errors import AwsError
from localaws.functions import validation
from localaws.permissions.roles import Role
from localaws.vpc import OF_LAMBDA, may_join, members, vpc_of

_LOOKS = {"InvalidSubnetID.NotFound": "DescribeSubnets", "InvalidGroup.NotFound": "DescribeSecurityGroups"}


def checked(core: Core, region: str, config: Mapping[str, Any] | None, role: Role) -> dict[str, Any] | None:
    """Return a VpcConfig with its VPC's id, None if it names nothing.

    Raises: AwsError InvalidParameterValueException.
    """
    subnets, groups = members(config, "SubnetIds")
    if bool(subnets) != bool(groups):
        raise validation.invalid("SubnetIds and SecurityIds must coexist or be both empty list.")
    if not subnets:
        return None
    try:
        vpc_id = vpc_of(core, region, subnets, groups)
    except AwsError as error:
        raise validation.invalid(_text(error)) from error
    if not may_join(role, OF_LAMBDA):
        raise validation.invalid(
            "The provided execution role does not have permissions to call CreateNetworkInterface on EC2"
        )
    return {"SubnetIds": subnets, "SecurityGroupIds": groups, "VpcId": vpc_id}


def _text(error: AwsError) -> str:
    if error.code not in _LOOKS:
        return error.message
    return (
        f"Error occurred while {_LOOKS[error.code]}. EC2 Error Code: {error.code}. EC2 Error Message: {error.message}"
    )
