"""Finds and removes IAM roles and instance profiles.

IAM lists those of every region, so one that a run created in another region is left to the teardown of that region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tasks.account.lookup import none_if_missing, tags_to_dict
from tasks.ec2.profile import find_profile, remove_role
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.kinds import Kind, only_tagged, until_gone
from tasks.teardown.plan import Resource


def _find_role(aws: Aws, name: str) -> Resource | None:
    found = none_if_missing(lambda: aws.client("iam").get_role(RoleName=name)["Role"])
    if found is None:
        return None
    return _if_of_this_region(aws, "role", name, aws.client("iam").list_role_tags(RoleName=name)["Tags"])


def _find_tagged_roles(aws: Aws) -> Iterator[Resource]:
    names = aws.client("iam").get_paginator("list_roles").paginate().search("Roles[].RoleName")
    return only_tagged(_find_role(aws, name) for name in names if name.startswith(RESOURCE_PREFIX))


def _remove_role(aws: Aws, name: str) -> None:
    iam = aws.client("iam")
    inline = none_if_missing(lambda: iam.list_role_policies(RoleName=name)["PolicyNames"]) or []
    for policy in inline:
        none_if_missing(partial(iam.delete_role_policy, RoleName=name, PolicyName=policy))
    attached = none_if_missing(lambda: iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]) or []
    for policy in attached:
        none_if_missing(partial(iam.detach_role_policy, RoleName=name, PolicyArn=policy["PolicyArn"]))
    until_gone(
        aws.target,
        f"role {name}",
        lambda: iam.delete_role(RoleName=name),
        lambda: none_if_missing(lambda: iam.get_role(RoleName=name)) is not None,
    )


def _find_profile(aws: Aws, name: str) -> Resource | None:
    found = find_profile(aws, name)
    return None if found is None else _if_of_this_region(aws, "instance-profile", name, found.get("Tags", []))


def _find_tagged_profiles(aws: Aws) -> Iterator[Resource]:
    pages = aws.client("iam").get_paginator("list_instance_profiles").paginate()
    names = pages.search("InstanceProfiles[].InstanceProfileName")
    return only_tagged(_find_profile(aws, name) for name in names if name.startswith(RESOURCE_PREFIX))


def _remove_profile(aws: Aws, name: str) -> None:
    """Remove the role from the profile, because IAM deletes no role that a profile holds, then delete the profile."""
    iam = aws.client("iam")
    for role in (find_profile(aws, name) or {}).get("Roles", []):
        remove_role(aws, name, role["RoleName"])
    until_gone(
        aws.target,
        f"instance-profile {name}",
        lambda: iam.delete_instance_profile(InstanceProfileName=name),
        lambda: find_profile(aws, name) is not None,
    )


def _if_of_this_region(aws: Aws, kind: str, name: str, tags: Any) -> Resource | None:
    """Return the resource, unless its tags name another region."""
    named = tags_to_dict(tags)
    return Resource(kind, name, named) if named.get(naming.REGION_TAG, aws.region) == aws.region else None


IAM_KINDS: Mapping[str, Kind] = {
    "instance-profile": Kind(_find_profile, _find_tagged_profiles, _remove_profile),
    "role": Kind(_find_role, _find_tagged_roles, _remove_role),
}
