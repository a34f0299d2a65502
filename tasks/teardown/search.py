"""Finds the resources that exist: those that ledgers claim, and those that carry kennel's tags."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.kinds import Kind
from tasks.teardown.plan import Claim, Resource

WHERE = "teardown"
AGAIN = "run the same command again"


def find_resources(aws: Aws, claims: list[Claim], kinds: Mapping[str, Kind] = KINDS) -> list[Resource]:
    """Return the existing resources that the claims name or that carry kennel's tags.

    Raises:
        AwsFailed: a lookup failed.
    """
    found: dict[tuple[str, str], Resource] = {}
    with aws_boundary(WHERE, AGAIN):
        for kind in kinds.values():
            found.update((item.key, item) for item in kind.find_tagged(aws))
        for claim in claims:
            item = None if claim.key in found else _find_claimed(aws, claim, kinds)
            if item is not None:
                found[item.key] = item
    return list(found.values())


def _find_claimed(aws: Aws, claim: Claim, kinds: Mapping[str, Kind]) -> Resource | None:
    kind, name = claim.key
    return kinds[kind].find(aws, name) if kind in kinds else Resource(kind, name)
