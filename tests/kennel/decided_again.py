"""What roles asked for in a run, decided again with parts of their policies taken away, one at a time."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from localaws.policies.context import Context
from localaws.policies.decision import Identity, Principal, Request, decide
from localaws.policies.documents import policy_of
from tests.conftest import RunningLocalAws
from tests.keys import bearer

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a role's sessions asked for, each distinct request once, and the policy that they were allowed by."""

    role_arn: str
    policy: Document
    requests: tuple[Request, ...]

    def denied(self, document: Document) -> set[str]:
        """Return the requests that a policy would deny and the role's own allows, by action and resource."""
        who = Principal(self.role_arn, self.role_arn.split(":")[4], self.role_arn)
        own, other = (Identity((policy_of("role", each),)) for each in (self.policy, document))
        return {
            f"{each.action} on {each.resource}"
            for each in self.requests
            if decide(who, own, each).is_allowed and not decide(who, other, each).is_allowed
        }

    def needed_for(self) -> dict[str, set[str]]:
        """Return, for each statement and each action in it, the requests that are denied without it."""
        return {name: self.denied(document) for name, document in _reduced(self.policy)}


def asked_by(localaws: RunningLocalAws, role_name: str, policy_name: str = "kennel") -> Asked:
    """Read what a role asked for since its server started, and its policy."""
    iam = localaws.client("iam")
    arn = iam.get_role(RoleName=role_name)["Role"]["Arn"]
    document = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
    url = f"{localaws.url}/_localaws/permissions?owner={quote(arn)}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(bearer()))) as answer:
        told = json.loads(answer.read())["owners"][arn]
    return Asked(arn, document, tuple(_request(each) for each in told["requests"]))


def parts_with_action(needed: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return (part, action) for each part that is one action and whose removal denies something."""
    return [(part, part.split()[1]) for part, denied in needed.items() if denied and " " in part]


def _request(told: Mapping[str, Any]) -> Request:
    owner_id = told["resource"].split(":")[4] if told["resource"].startswith("arn:") else ""
    return Request(told["action"], told["resource"], Context(told["context"]), owner_id)


def _reduced(policy: Document) -> Iterator[tuple[str, Document]]:
    statements = policy["Statement"]
    for place, each in enumerate(statements):
        others = [*statements[:place], *statements[place + 1 :]]
        yield each["Sid"], {**policy, "Statement": others}
        for action in each["Action"]:
            kept = [name for name in each["Action"] if name != action]
            left = [{**each, "Action": kept}] if kept else []
            yield f"{each['Sid']} {action}", {**policy, "Statement": [*others, *left]}
