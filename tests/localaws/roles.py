"""Roles that a service of AWS may assume."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def trust(service: str) -> str:
    """Return the policy document with which a service (`lambda`, `sagemaker`, `ec2`) may assume a role."""
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_role(iam: Any, name: str, service: str) -> str:
    """Make a role that the service may assume and that may do everything; return its ARN."""
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(service))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=EVERYTHING)
    return arn


def remove_role(iam: Any, name: str) -> None:
    """Remove a role that `make_role` made."""
    iam.delete_role_policy(RoleName=name, PolicyName="everything")
    iam.delete_role(RoleName=name)


def make_inside(account_id: str, name: str, service: str) -> str:
    """Make such a role in this process's own moto, for parts of localaws that a test runs without a server."""
    from moto.iam.models import iam_backends

    role = iam_backends[account_id]["aws"].create_role(name, trust(service), "/", None, "", [], "3600")
    role.put_policy("everything", EVERYTHING)
    return role.arn


@contextmanager
def role_inside(account_id: str, name: str, service: str) -> Iterator[str]:
    """Have such a role in this process's own moto for a while."""
    from moto.iam.models import iam_backends

    yield make_inside(account_id, name, service)
    roles = iam_backends[account_id]["aws"]
    roles.get_role(name).policies.clear()
    roles.delete_role(name)
