"""The permissions boundary of kennel's roles: the most that a role may do, whatever its policies allow.

Whoever may make a role and give it policies may become administrator with it. The operator's policies therefore allow
that only for roles with this boundary. It is a managed policy that an administrator makes once; where the account has
it, kennel puts it on each role.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.naming import RESOURCE_PREFIX

NAME = f"{RESOURCE_PREFIX}boundary"
"""The managed policy's name."""


def find_boundary(aws: Aws) -> str | None:
    """Return the ARN of the boundary, None if the account does not have it.

    Raises:
        ClientError: IAM refused the call; the caller translates it.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    arn = aws.arn("iam", f"policy/{NAME}")
    answer = none_if_missing(lambda: aws.client("iam").get_policy(PolicyArn=arn))
    return None if answer is None else arn


def put_boundary(iam: Any, role: Mapping[str, Any], arn: str | None) -> None:
    """Give the boundary to a role that was made without it, or with another; None changes nothing.

    Raises:
        ClientError, BotoCoreError: IAM refused the call, or did not answer; the caller translates it.
    """
    present = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    if arn not in (None, present):
        wanted = {"RoleName": role["RoleName"], "PermissionsBoundary": arn}
        repeated_if_lost(lambda: iam.put_role_permissions_boundary(**wanted))
