"""Resolves the rules of security groups to the networks of callers and the addresses of instances that they let in."""

import ipaddress
from collections.abc import Sequence
from typing import Any

from localaws.ec2.machine import Ingress

ALL_PORTS = (0, 65_535)


def ingress_of(instance: Any, others: Sequence[Any]) -> tuple[Ingress, ...]:
    """Return who may reach an instance by the rules of its groups. `others`: every instance that has an address.

    A rule for a network lets in the callers and the instances that are in it; one for a group the instances in that
    group. IPv6 ranges let no one in, because there is no IPv6 here.
    """
    neighbours = [other for other in others if other is not instance and other.private_ip]
    rules = [rule for group in instance.security_groups for rule in group.ingress_rules]
    return tuple(_resolve(rule, neighbours) for rule in rules)


def _resolve(rule: Any, neighbours: Sequence[Any]) -> Ingress:
    low, high = (rule.from_port, rule.to_port) if rule.ip_protocol != "-1" else ALL_PORTS
    cidrs = (rule.cidr_ipv4,) if rule.cidr_ipv4 else ()
    peers = sorted(other.private_ip for other in neighbours if _is_source(rule, other))
    return Ingress(rule.ip_protocol, low, high, cidrs, tuple(peers))


def _is_source(rule: Any, other: Any) -> bool:
    if rule.cidr_ipv4:
        return ipaddress.ip_address(other.private_ip) in ipaddress.ip_network(rule.cidr_ipv4, strict=False)
    return rule.source_group.get("GroupId") in {group.id for group in other.security_groups}
