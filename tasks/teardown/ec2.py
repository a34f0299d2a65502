"""How what belongs to EC2 instances is looked up, found by its tags, and removed (see `deleters`).

A terminated instance counts as gone, though EC2 shows it for an hour. The private keys of a run go with its key pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.account.lookup import none_if_missing, tags_to_dict
from tasks.ec2.access import find_group, find_key_pair, key_pair_name, tags_of
from tasks.ec2.host_key import remove_keys
from tasks.ec2.profile import find_profile
from tasks.ec2.state import describe_instances, wait_ended
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.kinds import Kind, tagged, until_gone
from tasks.teardown.plan import Found

_OURS = [{"Name": f"tag:{naming.PROJECT_TAG}", "Values": [naming.PROJECT]}]

# --- instances --------------------------------------------------------------------------------------------------------


def _instances(aws: Aws, filters: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    return [item for item in describe_instances(aws, filters) if item["State"]["Name"] != "terminated"]


def _name_of(found: Mapping[str, Any]) -> str:
    """An instance's name in a ledger is the ClientToken of its launch; one that was launched otherwise has its id."""
    return str(found.get("ClientToken") or found["InstanceId"])


def _named(aws: Aws, name: str) -> list[Mapping[str, Any]]:
    """Return the instances of a name, kennel's first (a Name tag can be copied, a ClientToken cannot)."""
    by_id = {"Name": "instance-id", "Values": [name]}
    by_tag = {"Name": "tag:Name", "Values": [name]}
    found = _instances(aws, [by_id if name.startswith("i-") else by_tag])
    return sorted(found, key=lambda item: tags_of(item).get(naming.PROJECT_TAG) != naming.PROJECT)


def _look_instance(aws: Aws, name: str) -> Found | None:
    found = _named(aws, name)
    return Found("instance", name, tags_of(found[0])) if found else None


def _search_instances(aws: Aws) -> Iterator[Found]:
    return tagged(Found("instance", _name_of(item), tags_of(item)) for item in _instances(aws, _OURS))


def _remove_instance(aws: Aws, name: str) -> None:
    """Terminate the instances of that name that are kennel's, each by a call of its own, and wait until they ended."""
    ids = [
        str(item["InstanceId"])
        for item in {found["InstanceId"]: found for found in (*_named(aws, name), *_instances(aws, _OURS))}.values()
        if _name_of(item) == name and tags_of(item).get(naming.PROJECT_TAG) == naming.PROJECT
    ]
    for instance_id in ids:
        none_if_missing(lambda: aws.client("ec2").terminate_instances(InstanceIds=[instance_id]))  # noqa: B023
    for instance_id in ids:
        wait_ended(aws, instance_id)


# --- what lets us in --------------------------------------------------------------------------------------------------


def _look_group(aws: Aws, name: str) -> Found | None:
    found = find_group(aws, name)
    return None if found is None else Found("security-group", name, tags_of(found))


def _groups(aws: Aws) -> list[Mapping[str, Any]]:
    pages = aws.client("ec2").get_paginator("describe_security_groups").paginate(Filters=_OURS)
    return [group for page in pages for group in page["SecurityGroups"]]


def _search_groups(aws: Aws) -> Iterator[Found]:
    return tagged(Found("security-group", item["GroupName"], tags_of(item)) for item in _groups(aws))


def _remove_group(aws: Aws, name: str) -> None:
    """Delete it, again while the network interface of an instance that has just ended still holds it."""
    ec2 = aws.client("ec2")

    def left() -> list[str]:
        return [str(group["GroupId"]) for group in _groups(aws) if group["GroupName"] == name]

    for group_id in left():
        until_gone(
            f"security-group {name}",
            lambda: ec2.delete_security_group(GroupId=group_id),  # noqa: B023
            lambda: group_id in left(),  # noqa: B023
        )


def _look_key_pair(aws: Aws, name: str) -> Found | None:
    found = find_key_pair(aws, name)
    return None if found is None else Found("key-pair", name, tags_of(found))


def _search_key_pairs(aws: Aws) -> Iterator[Found]:
    found = aws.client("ec2").describe_key_pairs(Filters=_OURS)["KeyPairs"]
    return tagged(Found("key-pair", item["KeyName"], tags_of(item)) for item in found)


def _remove_key_pair(aws: Aws, name: str) -> None:
    """Delete the key pair, then the private keys of its run that are on this machine."""
    ec2 = aws.client("ec2")
    until_gone(
        f"key-pair {name}",
        lambda: ec2.delete_key_pair(KeyName=name),
        lambda: find_key_pair(aws, name) is not None,
    )
    forget_keys(aws, name)


def forget_keys(aws: Aws, name: str) -> None:
    """Delete the private keys of the run whose key pair has this name; a name of another form is nobody's."""
    run_id = name.removeprefix(RESOURCE_PREFIX).removesuffix("-login")
    if re.match(naming.RUN_ID_PATTERN, run_id) and key_pair_name(run_id) == name:
        remove_keys(aws.settings.run_dir(run_id))


# --- the instance profile ---------------------------------------------------------------------------------------------


def _look_profile(aws: Aws, name: str) -> Found | None:
    """Profiles are listed for every region; one that a run made in another region is another teardown's."""
    found = find_profile(aws, name)
    if found is None:
        return None
    tags = tags_to_dict(found.get("Tags", []))
    return Found("instance-profile", name, tags) if tags.get(naming.REGION_TAG, aws.region) == aws.region else None


def _search_profiles(aws: Aws) -> Iterator[Found]:
    pages = aws.client("iam").get_paginator("list_instance_profiles").paginate()
    names = [item["InstanceProfileName"] for page in pages for item in page["InstanceProfiles"]]
    return tagged(_look_profile(aws, name) for name in names if name.startswith(RESOURCE_PREFIX))


def _remove_profile(aws: Aws, name: str) -> None:
    """Take the role out, which could not be deleted while a profile holds it, and delete the profile."""
    iam = aws.client("iam")
    for role in (find_profile(aws, name) or {}).get("Roles", []):
        held = {"InstanceProfileName": name, "RoleName": role["RoleName"]}
        none_if_missing(lambda: iam.remove_role_from_instance_profile(**held))  # noqa: B023
    until_gone(
        f"instance-profile {name}",
        lambda: iam.delete_instance_profile(InstanceProfileName=name),
        lambda: find_profile(aws, name) is not None,
    )


INSTANCE_KINDS: Mapping[str, Kind] = {
    "instance": Kind(_look_instance, _search_instances, _remove_instance),
    "security-group": Kind(_look_group, _search_groups, _remove_group),
    "key-pair": Kind(_look_key_pair, _search_key_pairs, _remove_key_pair),
    "instance-profile": Kind(_look_profile, _search_profiles, _remove_profile),
}
