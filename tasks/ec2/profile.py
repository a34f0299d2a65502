"""Creates or adopts a run's instance profile, which gives its EC2 instances the credentials of the instance role.

The profile holds exactly that one role. A profile that belongs to somebody else is refused and not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tasks.account.lookup import none_if_missing
from tasks.account.roles import RoleSpec, ensure_role, iam_tags, refuse_foreign_iam
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary, is_not_found
from tasks.run.handle import Run
from tasks.run.waiting import say, wait_for

VISIBLE_SECONDS = 30.0
"""IAM takes seconds until all of its servers know a new role."""


def ensure_instance_profile(run: Run, spec: RoleSpec) -> str:
    """Create or adopt the role and a profile of the same name that holds it; return the profile's name.

    Raises:
        OwnershipRefused: a role or profile of that name exists and does not belong to this run.
        WaitTimedOut: IAM still did not know the new role after 30 s.
        AwsFailed: IAM refused.
    """
    ensure_role(run, spec)
    name = spec.name
    with aws_boundary(f"instance profile {name}"):
        found = find_profile(run.aws, name)
        if found is None:
            with run.ledger.create("instance-profile", name) as row:
                found = _create(run.aws, run.id, name)
                row.identifier = str(found["Arn"])
        else:
            _refuse_foreign(run.aws, found, run.id)
            run.ledger.adopt("instance-profile", name, str(found["Arn"]))
        _set_role(run.aws, found, name)
    return name


def find_profile(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return GetInstanceProfile's answer, or None when there is none of that name.

    Raises:
        ClientError: IAM refused for another reason.
    """
    answer = none_if_missing(lambda: aws.client("iam").get_instance_profile(InstanceProfileName=name))
    profile: Mapping[str, Any] | None = answer and answer["InstanceProfile"]
    return profile


def _create(aws: Aws, run_id: str, name: str) -> Mapping[str, Any]:
    """Create the profile; when only the answer was lost, the profile exists, and that counts as success."""
    tags = iam_tags(run_id, aws.region)
    try:
        made: Mapping[str, Any] = aws.client("iam").create_instance_profile(InstanceProfileName=name, Tags=tags)
        return dict(made["InstanceProfile"])
    except (ClientError, BotoCoreError):
        found = find_profile(aws, name)
        if found is None:
            raise
        _refuse_foreign(aws, found, run_id)
        say(f"instance profile {name}: AWS's answer was lost, but the profile was created")
        return found


def _refuse_foreign(aws: Aws, profile: Mapping[str, Any], run_id: str) -> None:
    name = profile["InstanceProfileName"]
    look = f"aws iam get-instance-profile --instance-profile-name {name}"
    tags = profile.get("Tags", [])
    refuse_foreign_iam(f"instance profile {name}", tags, run_id, region=aws.region, look=look)


def _set_role(aws: Aws, profile: Mapping[str, Any], role: str) -> None:
    """Add the role to the profile after removing any other one: a profile can hold one role."""
    iam, name = aws.client("iam"), profile["InstanceProfileName"]
    held = [item["RoleName"] for item in profile.get("Roles", [])]
    for other in (item for item in held if item != role):
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=other)
    if role not in held:
        wait_for(f"role {role}", lambda: _add(aws, name, role), deadline_seconds=VISIBLE_SECONDS)


def _add(aws: Aws, name: str, role: str) -> tuple[bool | None, str]:
    """Add the role; when the answer to a first call was lost, IAM refuses the second with LimitExceeded."""
    try:
        aws.client("iam").add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    except (ClientError, BotoCoreError) as error:
        profile = find_profile(aws, name) or {}
        if role in [item["RoleName"] for item in profile.get("Roles", [])]:
            return True, "added"
        if isinstance(error, ClientError) and is_not_found(error):
            return None, "not known to IAM yet"
        raise
    return True, "added"
