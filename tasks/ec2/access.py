"""Gives the caller access to a run's instances: a key pair, and a security group that only the caller's address passes.

Both are created, or adopted by their names and corrected; they are refused when they belong to somebody else. The group
is in the instances' VPC. It has one rule for SSH from the caller, and with several instances one for TCP among them.
"""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.account.network import Ec2Network
from tasks.ec2.host_key import KeyFile, login_key
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, Unreachable, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import carried_out, repeated_if_lost, true_or_none
from tasks.run.settings import Settings
from tasks.run.waiting import say, wait_for

ADDRESS_SECONDS = 10.0
VISIBLE_SECONDS = 30.0
"""How long it may take until all of EC2's servers know a new group."""


@dataclass(frozen=True)
class Access:
    """What a launch needs so that only the caller can log in; `ssh_from` is a CIDR."""

    key_name: str
    login_key: Path
    login_public: str
    group_id: str
    ssh_from: str


@dataclass(frozen=True)
class Rule:
    """One ingress rule: TCP ports, inclusive, from a CIDR or from the members of a group."""

    from_port: int
    to_port: int
    source: str

    def permission(self) -> dict[str, Any]:
        """Return the rule in the form of EC2's IpPermissions."""
        ports = {"IpProtocol": "tcp", "FromPort": self.from_port, "ToPort": self.to_port}
        if self.source.startswith("sg-"):
            return {**ports, "UserIdGroupPairs": [{"GroupId": self.source}]}
        return {**ports, "IpRanges": [{"CidrIp": self.source}]}


def ensure_access(run: Run, network: Ec2Network, *, instance_count: int = 1) -> Access:
    """Create or adopt the run's key pair, and its security group in the VPC of the network.

    Raises:
        OwnershipRefused: one of them exists and does not carry this run's tags.
        Unreachable: the caller's address could not be found out.
        AwsFailed: EC2 refused.
    """
    source = ssh_source(run.settings)
    key = login_key(run.folder)
    name = ensure_key_pair(run, key)
    group = ensure_group(run, network.vpc_id, ssh_from=source, is_shared=instance_count > 1)
    return Access(name, key.path, key.public, group, source)


def ssh_source(settings: Settings) -> str:
    """Return the CIDR that may reach SSH: `ssh_from` when it is set, else the caller's own address.

    Raises:
        Unreachable: the address could not be found out.
    """
    return settings.ssh_from or f"{caller_address(settings)}/32"


def caller_address(settings: Settings) -> ipaddress.IPv4Address:
    """Ask `caller_address_source` for the address that our connections come from; like SSH, this uses no proxy.

    Raises:
        Unreachable: nothing answered within 10 s, or the answer is not an IPv4 address.
    """
    url = settings.caller_address_source()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ADDRESS_SECONDS) as answer:
            text = answer.read(64).decode("ascii").strip()
        return ipaddress.IPv4Address(text)
    except (urllib.error.URLError, OSError, HTTPException, ValueError) as error:
        set_it = "export KENNEL_SSH_FROM=<your IPv4 address>/32"
        raise Unreachable("security group: our own address", f"{url} did not tell it", str(error), set_it) from error


# --- the key pair -----------------------------------------------------------------------------------------------------


def ensure_key_pair(run: Run, key: KeyFile) -> str:
    """Import the login key's public half, or adopt the run's key pair; a key pair of another key is replaced.

    Raises:
        OwnershipRefused: a key pair of that name does not carry this run's tags.
        AwsFailed: EC2 refused.
    """
    name = key_pair_name(run.id)
    with aws_boundary(f"key pair {name}"):
        found = find_key_pair(run.aws, name)
        if found is not None:
            _refuse_foreign(f"key pair {name}", found, run.id)
            if _is_same_key(found, key):
                run.ledger.adopt("key-pair", name, str(found["KeyPairId"]))
                return name
            say(f"key pair {name}: its private key is no longer on this machine, so it is replaced")
            repeated_if_lost(lambda: run.aws.client("ec2").delete_key_pair(KeyName=name))
        with run.ledger.create("key-pair", name, lambda: _own_key_pair(run, name, key)) as row:
            row.identifier = _import(run.aws, run.id, name, key)
    return name


def key_pair_name(run_id: str) -> str:
    """Return the name of a run's key pair."""
    return naming.resource_name(run_id, "login")


def find_key_pair(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return DescribeKeyPairs' entry with the public key, or None when there is none of that name.

    Raises:
        ClientError: EC2 refused for another reason.
    """
    answer = none_if_missing(lambda: aws.client("ec2").describe_key_pairs(KeyNames=[name], IncludePublicKey=True))
    return next(iter(answer["KeyPairs"]), None) if answer else None


def _import(aws: Aws, run_id: str, name: str, key: KeyFile) -> str:
    tags = [{"ResourceType": "key-pair", "Tags": naming.tag_list(run_id)}]
    ec2 = aws.client("ec2")
    answer = ec2.import_key_pair(KeyName=name, PublicKeyMaterial=key.public.encode(), TagSpecifications=tags)
    return str(answer["KeyPairId"])


def _own_key_pair(run: Run, name: str, key: KeyFile) -> str | None:
    """Return the id of the run's key pair with this key, or None without one; refuse a foreign one."""
    found = find_key_pair(run.aws, name)
    if found is None or not _is_same_key(found, key):
        return None
    _refuse_foreign(f"key pair {name}", found, run.id)
    return str(found["KeyPairId"])


def _is_same_key(found: Mapping[str, Any], key: KeyFile) -> bool:
    return str(found.get("PublicKey", "")).split()[:2] == key.public.split()[:2]


# --- the security group -----------------------------------------------------------------------------------------------


def ensure_group(run: Run, vpc: str, *, ssh_from: str, is_shared: bool) -> str:
    """Create or adopt the security group in a VPC, set its ingress rules, and return its id.

    Raises:
        OwnershipRefused: a group of that name does not carry this run's tags.
        AwsFailed: EC2 refused.
    """
    name = group_name(run.id)
    with aws_boundary(f"security group {name}"):
        group_id = _own_group(run, name, vpc)
        if group_id is None:
            with run.ledger.create("security-group", name, lambda: _own_group(run, name, vpc)) as row:
                row.identifier = _create_group(run.aws, run.id, name, vpc)
            group_id = str(row.identifier)
        else:
            run.ledger.adopt("security-group", name, group_id)
        wanted = {Rule(run.settings.ssh_port, run.settings.ssh_port, ssh_from)}
        _set_rules(run.aws, group_id, wanted | ({Rule(0, 65_535, group_id)} if is_shared else set()))
    return group_id


def group_name(run_id: str) -> str:
    """Return the name of a run's security group; EC2 refuses names that begin with "sg-"."""
    return naming.resource_name(run_id, "ssh")


def find_group(aws: Aws, name: str, vpc: str | None = None) -> Mapping[str, Any] | None:
    """Return DescribeSecurityGroups' entry of that name in `vpc`, or in any VPC, preferring one with kennel's tag.

    Raises:
        ClientError: EC2 refused.
    """
    filters = [{"Name": "group-name", "Values": [name]}, *([{"Name": "vpc-id", "Values": [vpc]}] if vpc else [])]
    pages = aws.client("ec2").get_paginator("describe_security_groups").paginate(Filters=filters)
    found = [group for page in pages for group in page["SecurityGroups"] if group["GroupName"] == name]
    found.sort(key=lambda group: tags_of(group).get(naming.PROJECT_TAG) != naming.PROJECT)
    return found[0] if found else None


def tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a resource that EC2 described."""
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}


def rules_of(group: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield (source, permission) for each source of a group's ingress rules; the permission has the ports."""
    for permission in group.get("IpPermissions", []):
        bare = {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission}
        for kind, field in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"), ("PrefixListIds", "PrefixListId")):
            for item in permission.get(kind, []):
                yield item[field], {**bare, kind: [{field: item[field]}]}
        for pair in permission.get("UserIdGroupPairs", []):
            yield pair["GroupId"], {**bare, "UserIdGroupPairs": [{"GroupId": pair["GroupId"]}]}


def _own_group(run: Run, name: str, vpc: str) -> str | None:
    """Return the id of the run's group in a VPC, or None without one; refuse a foreign one."""
    found = find_group(run.aws, name, vpc)
    if found is None:
        return None
    _refuse_foreign(f"security group {name}", found, run.id)
    return str(found["GroupId"])


def _create_group(aws: Aws, run_id: str, name: str, vpc: str) -> str:
    tags = [{"ResourceType": "security-group", "Tags": naming.tag_list(run_id)}]
    what = f"SSH to the EC2 instances of kennel run {run_id}"
    ec2 = aws.client("ec2")
    answer = ec2.create_security_group(GroupName=name, Description=what, VpcId=vpc, TagSpecifications=tags)
    return str(answer["GroupId"])


def _set_rules(aws: Aws, group_id: str, wanted: set[Rule]) -> None:
    """Add the rules that are missing, then revoke all others, such as the caller's former address."""
    present = list(rules_of(_wait_visible(aws, group_id)))
    for rule in wanted:
        if not any(_is_rule(rule, source, permission) for source, permission in present):
            _authorize(aws, group_id, rule)
    for source, permission in present:
        if not any(_is_rule(rule, source, permission) for rule in wanted):
            say(f"security group {group_id}: {source} has no access any more")
            _revoke(aws, group_id, source, permission)


def _wait_visible(aws: Aws, group_id: str) -> Mapping[str, Any]:
    def probe() -> tuple[Mapping[str, Any] | None, str]:
        found = none_if_missing(lambda: aws.client("ec2").describe_security_groups(GroupIds=[group_id]))
        groups = found["SecurityGroups"] if found else []
        return (groups[0], "there") if groups else (None, "not shown by EC2 yet")

    return wait_for(aws.target, f"security group {group_id}", probe, deadline_seconds=VISIBLE_SECONDS)


def _authorize(aws: Aws, group_id: str, rule: Rule) -> None:
    def has_rule() -> bool | None:
        return true_or_none(any(_is_rule(rule, *each) for each in rules_of(_wait_visible(aws, group_id))))

    add = partial(aws.client("ec2").authorize_security_group_ingress, GroupId=group_id)
    carried_out(f"security group {group_id}", lambda: add(IpPermissions=[rule.permission()]), has_rule)


def _revoke(aws: Aws, group_id: str, source: str, permission: Mapping[str, Any]) -> None:
    def is_gone() -> bool | None:
        return true_or_none((source, permission) not in list(rules_of(_wait_visible(aws, group_id))))

    revoke = partial(aws.client("ec2").revoke_security_group_ingress, GroupId=group_id)
    carried_out(f"security group {group_id}", lambda: revoke(IpPermissions=[permission]), is_gone)


def _is_rule(rule: Rule, source: str, permission: Mapping[str, Any]) -> bool:
    ports = (permission["IpProtocol"], permission.get("FromPort"), permission.get("ToPort"))
    return source == rule.source and ports == ("tcp", rule.from_port, rule.to_port)


def _refuse_foreign(where: str, described: Mapping[str, Any], run_id: str) -> None:
    carried = tags_of(described)
    if any(carried.get(key) != value for key, value in naming.tags(run_id).items()):
        why = f"it does not carry the tags of run {run_id}, so it belongs to somebody else"
        raise OwnershipRefused(where, "it exists already", why, "run the same command with --run-id <another name>")
