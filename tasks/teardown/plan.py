"""What a teardown removes and what it leaves: a plan is data, made without a call, shown before anything happens.

A resource is removed when a ledger of the runs in question names it or their tags are on it, and never when its own
tags say otherwise: a ledger row is a claim, the tags are the proof. Kinds that carry no tags (prefixes in a bucket,
aliases) are proved by their names or by what they belong to. Anything else is kept, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.run import naming
from tasks.run.ledger import State

ORDER = (
    "training-job",
    "notebook-instance",
    "notebook-lifecycle",
    "scalable-target",
    "endpoint",
    "endpoint-config",
    "model",
    "provisioned-concurrency",
    "function-alias",
    "function",
    "instance",
    "security-group",
    "key-pair",
    "instance-profile",
    "log-group",
    "s3-prefix",
    "bucket",
    "role",
)
"""Dependents first (a scalable target outlives its endpoint, a security group cannot go before its instances); roles
last, for a deleted execution role blocks DeleteEndpoint, and one that a profile holds cannot be deleted."""

_BELONGS_TO = {"scalable-target": "endpoint", "provisioned-concurrency": "function", "function-alias": "function"}
_OWNED_PREFIX = re.compile(r"(datasets/[0-9a-f]{64}|weights/[A-Za-z0-9._-]+/[0-9a-f]{16})$")

Key = tuple[str, str]
"""(kind, name)"""


@dataclass(frozen=True)
class Claim:
    """A ledger's word that a run made or uses something; `name` as in the ledger."""

    kind: str
    name: str
    run_id: str
    state: State

    @property
    def key(self) -> Key:
        """The resource claimed, however the row spells it."""
        kind = self.kind.replace("_", "-")
        return kind, prefix_name(self.name) if kind == "s3-prefix" else self.name


@dataclass(frozen=True)
class Found:
    """Something that exists now, with its tags ({} for none)."""

    kind: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What it is."""
        return self.kind, self.name


@dataclass(frozen=True)
class Scope:
    """The runs to tear down; None is every run of kennel in the account and region."""

    run_ids: frozenset[str] | None

    def holds(self, run_id: str | None) -> bool:
        """Tell whether a run is one of them."""
        return self.run_ids is None or run_id in self.run_ids


@dataclass(frozen=True)
class Removal:
    """One resource to remove, for `run_id` (None when no ledger and no tag says which)."""

    kind: str
    name: str
    run_id: str | None = None


@dataclass(frozen=True)
class Kept:
    """One resource to leave, and why; `released_by` is the run in scope that only gives up its share of it."""

    kind: str
    name: str
    reason: str
    released_by: str | None = None


@dataclass(frozen=True)
class Plan:
    """Removals in order; what is kept; claims on what does not exist (any more)."""

    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]
    gone: tuple[Claim, ...]


def make_plan(scope: Scope, claims: Sequence[Claim], found: Sequence[Found], *, bucket: str) -> Plan:
    """Decide about everything that is claimed by a ledger or was found.

    `claims` are of all runs, also those out of scope: what they use is kept. `found` must answer for every claim: what
    is not in it does not exist. `bucket` is the project's.
    """
    existing = {item.key: item for item in found}
    claimed = {claim.key: claim for claim in claims if scope.holds(claim.run_id)}
    used_elsewhere = {claim.key: claim.run_id for claim in claims if not scope.holds(claim.run_id)}
    removals: list[Removal] = []
    kept: list[Kept] = []
    for key, item in existing.items():
        claim = claimed.get(key)
        if claim is None and not _is_tagged_in(scope, item) and not _is_own_prefix(scope, item, bucket, existing):
            continue
        reason = _reason_to_keep(scope, item, claim, used_elsewhere, existing, bucket)
        if reason is None:
            run_id = claim.run_id if claim else item.tags.get(naming.RUN_TAG)
            removals.append(Removal(item.kind, item.name, run_id))
        else:
            shared = claim is not None and key in used_elsewhere
            kept.append(Kept(item.kind, item.name, reason, claim.run_id if claim and shared else None))
    gone = tuple(claim for key, claim in claimed.items() if key not in existing)
    removals.sort(key=lambda removal: (ORDER.index(removal.kind), removal.name))
    return Plan(tuple(removals), tuple(kept), gone)


def prefix_name(name: str) -> str:
    """Return `bucket/prefix` for an S3 prefix, whether it is spelt with `s3://` and a slash at its end or not."""
    return name.removeprefix("s3://").rstrip("/")


def plan_text(plan: Plan) -> str:
    """Return the plan for a person, one line a resource."""
    lines = [f"  remove {item.kind} {item.name}" for item in plan.removals]
    lines += [f"  keep   {item.kind} {item.name}: {item.reason}" for item in plan.kept]
    return "\n".join(lines) or "  nothing to remove"


def _reason_to_keep(
    scope: Scope,
    item: Found,
    claim: Claim | None,
    used_elsewhere: Mapping[Key, str],
    existing: Mapping[Key, Found],
    bucket: str,
) -> str | None:
    if item.kind not in ORDER:
        return "there is no deleter for this kind"
    if item.key in used_elsewhere:
        return f"run {used_elsewhere[item.key]} uses it"
    if item.kind == "s3-prefix":
        is_ours = _is_own_prefix(scope, item, bucket, existing) or _is_named_by(claim, item)
        return None if is_ours else "kennel does not write there"
    if item.kind in _BELONGS_TO:
        return _reason_to_keep_part(scope, item, claim, existing)
    if item.kind == "bucket":
        return _reason_to_keep_bucket(item, claim)
    return None if _is_tagged_in(scope, item) else "it does not carry the tags of these runs"


def _reason_to_keep_part(scope: Scope, item: Found, claim: Claim | None, existing: Mapping[Key, Found]) -> str | None:
    """What belongs to something goes with that; a scalable target, which outlives its endpoint, by the run's name."""
    kind = _BELONGS_TO[item.kind]
    name = item.name.removeprefix("endpoint/").partition("/" if kind == "endpoint" else ":")[0]
    whole = existing.get((kind, name))
    if whole is not None and _is_tagged_in(scope, whole):
        return None
    is_orphan = item.kind == "scalable-target" and whole is None
    if is_orphan and claim is not None and name.startswith(naming.name_prefix(claim.run_id)):
        return None
    return f"its {kind} is not of these runs"


def _reason_to_keep_bucket(item: Found, claim: Claim | None) -> str | None:
    """A bucket gets its tags in a second call: one that this run created and that has none was left by a crash."""
    if item.tags.get(naming.PROJECT_TAG) == naming.PROJECT:
        return None
    made = claim is not None and claim.state in {"intended", "created", "uncertain"} and not item.tags
    return None if made else "it does not carry kennel's tag"


def _is_tagged_in(scope: Scope, item: Found) -> bool:
    return item.tags.get(naming.PROJECT_TAG) == naming.PROJECT and scope.holds(item.tags.get(naming.RUN_TAG))


def _is_own_prefix(scope: Scope, item: Found, bucket: str, existing: Mapping[Key, Found]) -> bool:
    """Tell whether it is a prefix of the project's bucket that only the runs in scope can have written.

    In a bucket without kennel's tag, one that the user brought, anybody may have a folder `runs/`: there only a ledger
    says what is ours.
    """
    where, _, prefix = item.name.partition("/")
    if item.kind != "s3-prefix" or where != bucket:
        return False
    holder = existing.get(("bucket", bucket))
    if holder is None or holder.tags.get(naming.PROJECT_TAG) != naming.PROJECT:
        return False
    folder, _, rest = prefix.partition("/")
    if folder == "runs":
        return scope.holds(rest.partition("/")[0])
    return scope.run_ids is None and _OWNED_PREFIX.match(prefix) is not None


def _is_named_by(claim: Claim | None, item: Found) -> bool:
    prefix = item.name.partition("/")[2]
    if claim is None:
        return False
    return _OWNED_PREFIX.match(prefix) is not None or f"{prefix}/".startswith(f"runs/{claim.run_id}/")
