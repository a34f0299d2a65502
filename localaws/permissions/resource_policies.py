"""The policies that resources have: buckets', functions' and roles' own, read from where moto keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from localaws.partition import partition
from localaws.policies.trust import TRUSTED

NOBODY = '{"Statement": []}'  # trusted by a role that does not exist


@dataclass(frozen=True)
class ResourcePolicy:
    """A resource's policy as JSON. `is_trust`: it is a role's, without which nobody may."""

    text: str
    is_trust: bool = False


def policy_on(account_id: str, action: str, resource: str) -> ResourcePolicy | None:
    """Return the policy of the resource that an action is about, None if it has none."""
    if action in TRUSTED:
        return _of_role(account_id, resource)
    if action.startswith("s3:"):
        return _of_bucket(account_id, resource.rpartition(":")[2].partition("/")[0])
    if action.startswith("lambda:") and resource.count(":") >= 6:
        _, _, _, region, owner_id, _, name, *_ = resource.split(":")
        return _of_function(account_id, region, name) if owner_id == account_id else None
    return None


def _of_role(account_id: str, arn: str) -> ResourcePolicy:
    from moto.iam.models import iam_backends

    roles = list(iam_backends[account_id][partition()].roles.values())
    document = next((each.assume_role_policy_document for each in roles if each.arn == arn), NOBODY)
    return ResourcePolicy(document, is_trust=True)


def _of_bucket(account_id: str, name: str) -> ResourcePolicy | None:
    from moto.s3.models import s3_backends

    bucket: Any = s3_backends[account_id][partition()].buckets.get(name)
    return ResourcePolicy(bytes(bucket.policy).decode()) if bucket is not None and bucket.policy else None


def _of_function(account_id: str, region: str, name: str) -> ResourcePolicy | None:
    from moto.awslambda.models import lambda_backends

    backend: Any = lambda_backends[account_id][region]
    entry = backend._lambdas._functions.get(name)
    statements = entry["latest"].policy.statements if entry else []
    return ResourcePolicy(json.dumps({"Version": "2012-10-17", "Statement": statements})) if statements else None
