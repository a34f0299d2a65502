"""Users and role sessions of a localaws that are allowed what a test says, and their clients."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Somebody:
    """A user or session: its ARN, and the keys that its clients sign with."""

    arn: str
    url: str
    keys: Mapping[str, str]

    def client(self, service: str, **config: Any) -> Any:
        """Return a client that signs as this caller and asks once."""
        retries = {"retries": {"mode": "standard", "total_max_attempts": 1}}
        settings = Config(**{**retries, **config})
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", config=settings, **self.keys)


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a statement that denies."""
    return {**allow(action, resource, **more), "Effect": "Deny"}


def document(*statements: Mapping[str, Any]) -> str:
    """Return a policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def make_user(localaws: RunningLocalAws, *statements: Mapping[str, Any], name: str = "") -> Somebody:
    """Make a user with an inline policy of these statements, and a key."""
    iam, name = localaws.client("iam"), name or f"user-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
    return Somebody(arn, localaws.url, _keys(iam.create_access_key(UserName=name)["AccessKey"]))


def make_role(localaws: RunningLocalAws, trusted: Any, *statements: Mapping[str, Any], name: str = "") -> str:
    """Make a role that `trusted` (a Principal) may assume, with an inline policy of these statements."""
    iam, name = localaws.client("iam"), name or f"role-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
    return arn


def assume(somebody: Somebody, role_arn: str, **more: Any) -> Somebody:
    """Return a session of a role that somebody assumes."""
    reply = somebody.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test", **more)
    return Somebody(reply["AssumedRoleUser"]["Arn"], somebody.url, _keys(reply["Credentials"]))


def refusal(call: Any, *arguments: Any, **parameters: Any) -> tuple[str, str]:
    """Return the code and message of the error that a call gets.

    Raises:
        AssertionError: it got none.
    """
    try:
        call(*arguments, **parameters)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    raise AssertionError("the call was allowed")


def _keys(given: Mapping[str, str]) -> dict[str, str]:
    token = {"aws_session_token": given["SessionToken"]} if "SessionToken" in given else {}
    return {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"], **token}
