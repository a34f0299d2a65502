"""Finds and removes EC2 instances, security groups and key pairs.

A terminated instance counts as gone, although EC2 shows it for an hour. The private keys of a run are deleted with its
key pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.ec2.access import find_group, find_key_pair, key_pair_name, tags_of
from tasks.ec2.host_key import remove_keys
from tasks.ec2.state import describe_instances, wait_ended
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.kinds import Kind, only_tagged, until_gone
from tasks.teardown.plan import Resource

_OURS = [{"Name": f"tag:{naming.PROJECT_TAG}", "Values": [naming.PROJECT]}]

# --- instances --------------------------------------------------------------------------------------------------------


def _instances(aws: Aws, filters: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    return [item for item in describe_instances(aws, filters) if item["State"]["Name"] != "terminated"]


def _name_of(found: Mapping[str, Any]) -> str:
    """Return an instance's name in the ledger: the ClientToken of its launch, or its id when it has none."""
    return str(found.get("ClientToken") or found["InstanceId"])


def _named(aws: Aws, name: str) -> list[Mapping[str, Any]]:
    """Return the instances of a name, kennel's first: others may have a copy of the Name tag."""
    by_id = {"Name": "instance-id", "Values": [name]}
    by_tag = {"Name": "tag:Name", "Values": [name]}
    found = _instances(aws, [by_id if name.startswith("i-") else by_tag])
    return sorted(found, key=lambda item: tags_of(item).get(naming.PROJECT_TAG) != naming.PROJECT)


def _find_instance(aws: Aws, name: str) -> Resource | None:
    found = _named(aws, name)
    return Resource("instance", name, tags_of(found[0])) if found else None


def _find_tagged_instances(aws: Aws) -> Iterator[Resource]:
    return only_tagged(Resource("instance", _name_of(item), tags_of(item)) for item in _instances(aws, _OURS))


def _remove_instance(aws: Aws, name: str) -> None:
    """Terminate kennel's instances of that name, each by a call of its own, and wait until they have ended."""
    ids = [
        str(item["InstanceId"])
        for item in {found["InstanceId"]: found for found in (*_named(aws, name), *_instances(aws, _OURS))}.values()
        if _name_of(item) == name and tags_of(item).get(naming.PROJECT_TAG) == naming.PROJECT
    ]
    for instance_id in ids:
        none_if_missing(lambda: aws.client("ec2").terminate_instances(InstanceIds=[instance_id]))  # noqa: B023
    for instance_id in ids:
        wait_ended(aws, instance_id)


# --- security groups and key pairs ------------------------------------------------------------------------------------


def _find_group(aws: Aws, name: str) -> Resource | None:
    found = find_group(aws, name)
    return None if found is None else Resource("security-group", name, tags_of(found))


def _groups(aws: Aws) -> list[Mapping[str, Any]]:
    pages = aws.client("ec2").get_paginator("describe_security_groups").paginate(Filters=_OURS)
    return [group for page in pages for group in page["SecurityGroups"]]


def _find_tagged_groups(aws: Aws) -> Iterator[Resource]:
    return only_tagged(Resource("security-group", item["GroupName"], tags_of(item)) for item in _groups(aws))


def _remove_group(aws: Aws, name: str) -> None:
    """Delete a group; this is tried again while the network interface of an instance that just ended uses it."""
    ec2 = aws.client("ec2")

    def left() -> list[str]:
        return [str(group["GroupId"]) for group in _groups(aws) if group["GroupName"] == name]

    for group_id in left():
        until_gone(
            aws.target,
            f"security-group {name}",
            lambda: ec2.delete_security_group(GroupId=group_id),  # noqa: B023
            lambda: group_id in left(),  # noqa: B023
        )


def _find_key_pair(aws: Aws, name: str) -> Resource | None:
    found = find_key_pair(aws, name)
    return None if found is None else Resource("key-pair", name, tags_of(found))


def _find_tagged_key_pairs(aws: Aws) -> Iterator[Resource]:
    found = aws.client("ec2").describe_key_pairs(Filters=_OURS)["KeyPairs"]
    return only_tagged(Resource("key-pair", item["KeyName"], tags_of(item)) for item in found)


def _remove_key_pair(aws: Aws, name: str) -> None:
    """Delete the key pair in EC2, then the private keys of its run on this machine."""
    ec2 = aws.client("ec2")
    until_gone(
        aws.target,
        f"key-pair {name}",
        lambda: ec2.delete_key_pair(KeyName=name),
        lambda: find_key_pair(aws, name) is not None,
    )
    delete_private_keys(aws, name)


def delete_private_keys(aws: Aws, name: str) -> None:
    """Delete the private keys of the run whose key pair has this name, if it is the name of a run's key pair."""
    run_id = name.removeprefix(RESOURCE_PREFIX).removesuffix("-login")
    if naming.RUN_ID.fits(run_id) and key_pair_name(run_id) == name:
        remove_keys(aws.settings.run_dir(run_id))


INSTANCE_KINDS: Mapping[str, Kind] = {
    "instance": Kind(_find_instance, _find_tagged_instances, _remove_instance),
    "security-group": Kind(_find_group, _find_tagged_groups, _remove_group),
    "key-pair": Kind(_find_key_pair, _find_tagged_key_pairs, _remove_key_pair),
}
