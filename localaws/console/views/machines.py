"""EC2's instances (state, console output, groups, how to log in) and SageMaker's notebook instances."""

import shlex
from collections.abc import Mapping
from typing import Any

from localaws.console.account import Account
from localaws.console.masking import whole_words
from localaws.console.rendering import paged
from localaws.console.views.missing import Missing
from localaws.programs.layout import USER

CONSOLE_CHARACTERS = 20_000


def instances(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the instances, the newest first."""
    return {"instances": paged(account.instances, query)}


def instance(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return an instance.

    Raises:
        Missing: there is none of that id.
    """
    wanted = query.get("id", "")
    found = next((each for each in account.instances if each.id == wanted), None)
    if found is None:
        raise Missing(f"instance {wanted}")
    return {
        "instance": found,
        "profile": (found.iam_instance_profile or {}).get("Arn", ""),
        "groups": [(each, [_rule(rule) for rule in each.ingress_rules]) for each in found.security_groups],
        "ssh": _ssh_line(account, found),
        "output": whole_words(found.console().decode("utf-8", "replace"), CONSOLE_CHARACTERS, is_end=True),
    }


def notebooks(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the notebook instances, the newest first."""
    page = paged(list(account.sagemaker.notebook_instances.values())[::-1], query)
    page["items"] = [each.to_dict() for each in page["items"]]
    return {"notebooks": page}


def _ssh_line(account: Account, found: Any) -> str:
    """Return what a shell takes to log in, empty while nobody can."""
    if found.state != "running" or not found.public_ip:
        return ""
    key = f" -i {shlex.quote(found.key_name + '.pem')}" if found.key_name else ""
    return f"ssh -p {account.core.settings.ssh_port}{key} {USER}@{found.public_ip}"


def _rule(rule: Any) -> dict[str, Any]:
    is_all = rule.ip_protocol == "-1"
    source = rule.cidr_ipv4 or getattr(rule, "cidr_ipv6", None) or (rule.source_group or {}).get("GroupId", "")
    ports = "all" if is_all or rule.from_port is None else str(rule.from_port)
    if not is_all and rule.to_port != rule.from_port:
        ports = f"{rule.from_port}–{rule.to_port}"
    return {"protocol": "all" if is_all else rule.ip_protocol, "ports": ports, "source": source}
