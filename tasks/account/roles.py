"""Create the IAM roles of a run, and the log groups that its services write.

An existing role with the run's tags is adopted, and its policies are set to the wanted ones again. A role without those
tags is not changed. `tasks.account.role_policies` says what each role may do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.account.lookup import none_if_missing, refuse_foreign, shown_tags, tags_to_dict
from tasks.account.policy_documents import NotAPolicy, read_policy
from tasks.account.role_boundary import find_boundary, put_boundary
from tasks.account.role_policies import RoleSpec
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, OwnershipRefused, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.waiting import retry_until_known

POLICY_NAME = "kennel"


def ensure_role(run: Run, spec: RoleSpec) -> str:
    """Create the role, or adopt it and set its policies to those of the spec; return its ARN.

    It has the account's boundary of kennel's roles, if there is one.

    Raises:
        OwnershipRefused: a role of that name exists and does not have this run's tags.
        AwsFailed: IAM refused a call, or did not answer.
    """
    iam = run.aws.client("iam")
    with aws_boundary(f"role {spec.name}"):
        found, boundary = _own_role(run, spec.name), find_boundary(run.aws)
        if found is None:
            with run.ledger.create("role", spec.name, lambda: _arn(_own_role(run, spec.name))) as row:
                row.identifier = _create_role(run, spec, boundary)
            arn = str(row.identifier)
        else:
            arn = str(found["Arn"])
            run.ledger.adopt("role", spec.name, arn)
            put_boundary(iam, found, boundary)
            if found["AssumeRolePolicyDocument"] != spec.trust:
                trust = {"RoleName": spec.name, "PolicyDocument": json.dumps(spec.trust)}
                repeated_if_lost(lambda: iam.update_assume_role_policy(**trust))
        if role_policy(iam, spec.name) != spec.policy:
            retry_until_known(run.aws.target, f"role {spec.name}", lambda: put_policy(iam, spec.name, spec.policy))
    return arn


def ensure_log_group(run: Run, name: str, *, retention_days: int = 30) -> None:
    """Create a tagged log group that keeps lines for `retention_days`, or adopt it.

    Because it exists before the endpoint and the function, their roles need no permission to create log groups.

    Raises:
        OwnershipRefused: a log group of that name exists and does not have this run's tags.
        AwsFailed: CloudWatch Logs refused a call, or did not answer.
    """
    logs = run.aws.client("logs")
    with aws_boundary(f"log group {name}"):
        found = _own_log_group(run, name)
        if found is None:
            with run.ledger.create("log-group", name, lambda: name if _own_log_group(run, name) else None) as row:
                logs.create_log_group(logGroupName=name, tags=run.aws.tags(run.id))
                row.identifier = name
        else:
            run.ledger.adopt("log-group", name, name)
        if found is None or found.get("retentionInDays") != retention_days:
            repeated_if_lost(lambda: logs.put_retention_policy(logGroupName=name, retentionInDays=retention_days))


def _own_log_group(run: Run, name: str) -> Mapping[str, Any] | None:
    """Return the log group of that name, or None; refuse one without this run's tags."""
    logs = run.aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    groups = (group for page in pages for group in page["logGroups"] if group["logGroupName"] == name)
    found: Mapping[str, Any] | None = next(groups, None)
    if found is not None:
        arn = found["arn"].removesuffix(":*")
        what = f"log group {name}"
        tags = shown_tags(run.aws, what, lambda: logs.list_tags_for_resource(resourceArn=arn)["tags"])
        refuse_foreign(what, tags, run.id)
    return found


def _own_role(run: Run, name: str) -> Mapping[str, Any] | None:
    """Return the role of that name, or None; refuse one that does not belong to this run in this region."""
    iam = run.aws.client("iam")
    answer: Mapping[str, Any] | None = none_if_missing(lambda: iam.get_role(RoleName=name))
    if answer is None:
        return None
    look = run.aws.cli("iam get-role", role_name=name)
    tags = answer["Role"].get("Tags", [])
    refuse_foreign_iam(f"role {name}", tags, run.id, region=run.aws.region, look=look)
    role: Mapping[str, Any] = answer["Role"]
    return role


def _arn(found: Mapping[str, Any] | None) -> str | None:
    return None if found is None else str(found["Arn"])


def _create_role(run: Run, spec: RoleSpec, boundary: str | None) -> str:
    answer = run.aws.client("iam").create_role(
        RoleName=spec.name,
        AssumeRolePolicyDocument=json.dumps(spec.trust),
        Description=spec.description,
        Tags=iam_tags(run.aws, run.id),
        **({} if boundary is None else {"PermissionsBoundary": boundary}),
    )
    return str(answer["Role"]["Arn"])


def iam_tags(aws: Aws, run_id: str) -> list[dict[str, str]]:
    """Return the tags of a role or instance profile: those of the run, and the region."""
    return [*aws.tag_list(run_id), {"Key": naming.REGION_TAG, "Value": aws.region}]


def refuse_foreign_iam(
    where: str, tag_list: Iterable[Mapping[str, str]], run_id: str, *, region: str, look: str
) -> None:
    """Refuse a role or instance profile that does not belong to this run in this region.

    IAM has one namespace for all regions, so the tags also name the region.

    Raises:
        OwnershipRefused: it does not have the run's tags, or the run created it in another region.
    """
    found = tags_to_dict(tag_list)
    refuse_foreign(where, found, run_id, next_command=look)
    elsewhere = found.get(naming.REGION_TAG, region)
    if elsewhere != region:
        why = f"run {run_id} uses it in {elsewhere}, and IAM names are shared by all regions"
        raise OwnershipRefused(where, "it exists already", why, "run the same command with --run-id <another name>")


def put_policy(iam: Any, name: str, policy: Mapping[str, Any]) -> None:
    """Set kennel's policy of a role.

    Raises:
        ClientError, BotoCoreError: IAM refused the call, or did not answer; the caller translates it.
    """
    wanted = {"RoleName": name, "PolicyName": POLICY_NAME, "PolicyDocument": json.dumps(policy)}
    repeated_if_lost(lambda: iam.put_role_policy(**wanted))


def role_policy(iam: Any, name: str) -> Mapping[str, Any] | None:
    """Return kennel's policy of a role, None if there is no such role or policy.

    Raises:
        MalformedAnswer: what IAM gave is no policy.
        ClientError: IAM refused the call; the caller translates it.
    """
    answer = none_if_missing(lambda: iam.get_role_policy(RoleName=name, PolicyName=POLICY_NAME))
    try:
        return None if answer is None else read_policy(answer["PolicyDocument"])
    except NotAPolicy as error:
        what, why = f"GetRolePolicy answered with what is no policy: {error}", "kennel acts only on what it can read"
        look = "look at what answers there (curl -i), then run the same command again"
        raise MalformedAnswer(f"role {name}", what, why, look, is_reading=True) from error
