"""Roles that a service of AWS may assume."""

import json
from typing import Any


def trust(service: str) -> str:
    """Return the policy document with which a service (`lambda`, `sagemaker`, `ec2`) may assume a role."""
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_role(iam: Any, name: str, service: str) -> str:
    """Make a role that the service may assume; return its ARN."""
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(service))["Role"]["Arn"]
    return arn
