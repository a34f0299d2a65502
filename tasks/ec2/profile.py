"""Creates or adopts a run's instance profile, which gives its EC2 instances the credentials of the instance role.

The profile holds exactly that one role. A profile that belongs to somebody else is refused and not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.account.role_policies import RoleSpec
from tasks.account.roles import ensure_role, iam_tags, refuse_foreign_iam
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.waiting import retry_until_known


def ensure_instance_profile(run: Run, spec: RoleSpec) -> str:
    """Create or adopt the role and a profile of the same name that holds it; return the profile's name.

    Raises:
        OwnershipRefused: a role or profile of that name exists and does not belong to this run.
        WaitTimedOut: IAM still did not know the new role or profile after 90 s.
        AwsFailed: IAM refused.
    """
    ensure_role(run, spec)
    name = spec.name
    with aws_boundary(f"instance profile {name}"):
        found = find_profile(run.aws, name)
        if found is None:
            with run.ledger.create("instance-profile", name, lambda: _own_arn(run, name)) as row:
                row.identifier = _create(run.aws, run.id, name)
        else:
            _refuse_foreign(run.aws, found, run.id)
            run.ledger.adopt("instance-profile", name, str(found["Arn"]))
        _set_role(run.aws, name, [item["RoleName"] for item in (found or {}).get("Roles", [])])
    return name


def find_profile(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return GetInstanceProfile's answer, or None when there is none of that name.

    Raises:
        ClientError: IAM refused for another reason.
    """
    answer = none_if_missing(lambda: aws.client("iam").get_instance_profile(InstanceProfileName=name))
    profile: Mapping[str, Any] | None = answer and answer["InstanceProfile"]
    return profile


def _create(aws: Aws, run_id: str, name: str) -> str:
    tags = iam_tags(aws, run_id)
    answer = aws.client("iam").create_instance_profile(InstanceProfileName=name, Tags=tags)
    return str(answer["InstanceProfile"]["Arn"])


def _own_arn(run: Run, name: str) -> str | None:
    """Return the ARN of the run's profile, or None without one; refuse a foreign one."""
    found = find_profile(run.aws, name)
    if found is None:
        return None
    _refuse_foreign(run.aws, found, run.id)
    return str(found["Arn"])


def _refuse_foreign(aws: Aws, profile: Mapping[str, Any], run_id: str) -> None:
    name = profile["InstanceProfileName"]
    look = aws.cli("iam get-instance-profile", instance_profile_name=name)
    tags = profile.get("Tags", [])
    refuse_foreign_iam(f"instance profile {name}", tags, run_id, region=aws.region, look=look)


def remove_role(aws: Aws, profile: str, role: str) -> None:
    """Remove a role from a profile; one that is not in it is no error.

    Raises:
        ClientError: IAM refused.
    """
    remove = partial(aws.client("iam").remove_role_from_instance_profile, InstanceProfileName=profile, RoleName=role)
    carried_out(f"instance profile {profile}", remove, lambda: true_or_none(role not in _roles_in(aws, profile)))


def _set_role(aws: Aws, name: str, held: Sequence[str]) -> None:
    """Add the role of that name to the profile of that name, after removing the others: a profile can hold one."""
    for other in (role for role in held if role != name):
        remove_role(aws, name, other)
    if name not in held:
        where = f"instance profile {name}"
        add = partial(aws.client("iam").add_role_to_instance_profile, InstanceProfileName=name, RoleName=name)
        has_role = partial(_holds, aws, name)
        retry_until_known(aws.target, where, lambda: carried_out(where, add, has_role))


def _holds(aws: Aws, name: str) -> bool | None:
    return true_or_none(name in _roles_in(aws, name))


def _roles_in(aws: Aws, name: str) -> list[str]:
    return [item["RoleName"] for item in (find_profile(aws, name) or {}).get("Roles", [])]
