"""Plans a teardown: decides what is removed and what is kept, without a call, so that it can be shown beforehand.

A resource is removed when a ledger of the chosen runs names it or when it carries their tags, but never when its tags
name another owner: a ledger row only claims a resource, its tags decide. Kinds without tags (prefixes in a bucket,
aliases) are decided by their names or by the resource that they belong to. Everything else is kept, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.run import naming
from tasks.run.ledger_contents import State

ORDER = (
    "tuning-job",
    "training-job",
    "processing-job",
    "notebook-instance",
    "notebook-lifecycle",
    "scalable-target",
    "endpoint",
    "alarm",
    "endpoint-config",
    "model",
    "model-package",
    "model-package-group",
    "provisioned-concurrency",
    "function-url",
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
    "budget",
)
"""The order of removal: a resource comes before those that it needs.

AWS does not delete a scalable target with its endpoint, and deletes no security group that an instance uses. Roles are
last: AWS cannot delete an endpoint without its execution role, and no role that an instance profile holds.
"""

_BELONGS_TO = {"scalable-target": "endpoint"} | dict.fromkeys(
    ("provisioned-concurrency", "function-alias", "function-url"), "function"
)
SHARED = frozenset({"bucket", "model-package-group"})
"""They carry kennel's tag and no run's, because all runs use them."""

_OWNED_PREFIX = re.compile(r"(datasets/[0-9a-f]{64}|weights/[A-Za-z0-9._-]+/[0-9a-f]{16})$")

Key = tuple[str, str]
"""(kind, name)"""


@dataclass(frozen=True)
class Claim:
    """A row of a ledger, which says that a run created or uses a resource; `name` is spelt as in the ledger."""

    kind: str
    name: str
    run_id: str
    state: State

    @property
    def key(self) -> Key:
        """The resource's kind and name, in one spelling."""
        kind = self.kind.replace("_", "-")
        return kind, prefix_name(self.name) if kind == "s3-prefix" else self.name


@dataclass(frozen=True)
class Resource:
    """A resource that exists now, with its tags ({} for none)."""

    kind: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The resource's kind and name."""
        return self.kind, self.name


@dataclass(frozen=True)
class Scope:
    """The runs to tear down; `run_ids` None means every run of kennel in the account and region."""

    run_ids: frozenset[str] | None

    def holds(self, run_id: str | None) -> bool:
        """Tell whether a run is to be torn down."""
        return self.run_ids is None or run_id in self.run_ids


@dataclass(frozen=True)
class Removal:
    """One resource to remove; `run_id` is None when neither a ledger nor a tag names its run."""

    kind: str
    name: str
    run_id: str | None = None


@dataclass(frozen=True)
class Kept:
    """One resource to keep, and why; `released_by` is the run in scope that no longer uses a shared resource."""

    kind: str
    name: str
    reason: str
    released_by: str | None = None


@dataclass(frozen=True)
class Plan:
    """The removals in order, the resources that are kept, and the claims on resources that do not exist any more."""

    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]
    gone: tuple[Claim, ...]


def make_plan(scope: Scope, claims: Sequence[Claim], found: Sequence[Resource], *, bucket: str) -> Plan:
    """Decide about every resource that a ledger claims or that was found.

    `claims` are those of all runs, because what a run out of scope uses is kept. `found` has every resource that
    exists: a claim on another one counts as gone. `bucket` is the name of the project's bucket.
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
    """Return an S3 prefix as `bucket/prefix`, without `s3://` and without a slash at its end."""
    return name.removeprefix("s3://").rstrip("/")


def plan_text(plan: Plan) -> str:
    """Return the plan as text, one line for each resource."""
    lines = [f"  remove {item.kind} {item.name}" for item in plan.removals]
    lines += [f"  keep   {item.kind} {item.name}: {item.reason}" for item in plan.kept]
    return "\n".join(lines) or "  nothing to remove"


def _reason_to_keep(
    scope: Scope,
    item: Resource,
    claim: Claim | None,
    used_elsewhere: Mapping[Key, str],
    existing: Mapping[Key, Resource],
    bucket: str,
) -> str | None:
    if item.kind not in ORDER:
        return "kennel cannot remove resources of this kind"
    if item.key in used_elsewhere:
        return f"run {used_elsewhere[item.key]} uses it"
    if item.kind == "s3-prefix":
        is_ours = _is_own_prefix(scope, item, bucket, existing) or _is_named_by(claim, item)
        return None if is_ours else "kennel does not write there"
    if item.kind in _BELONGS_TO:
        return _reason_to_keep_part(scope, item, claim, existing)
    if item.kind in SHARED:
        return _reason_to_keep_shared(item, claim)
    return None if _is_tagged_in(scope, item) else "it does not carry the tags of these runs"


def _reason_to_keep_part(
    scope: Scope, item: Resource, claim: Claim | None, existing: Mapping[Key, Resource]
) -> str | None:
    """Decide a part (an alias, a scalable target) by its owner; when the owner is gone, a target by its run's name."""
    kind = _BELONGS_TO[item.kind]
    name = item.name.removeprefix("endpoint/").partition("/" if kind == "endpoint" else ":")[0]
    whole = existing.get((kind, name))
    if whole is not None and _is_tagged_in(scope, whole):
        return None
    is_orphan = item.kind == "scalable-target" and whole is None
    if is_orphan and claim is not None and name.startswith(naming.name_prefix(claim.run_id)):
        return None
    return f"its {kind} is not of these runs"


def _reason_to_keep_shared(item: Resource, claim: Claim | None) -> str | None:
    """Keep what lacks kennel's tag, unless this run created it and ended before the call that adds the tags."""
    if item.tags.get(naming.PROJECT_TAG) == naming.PROJECT:
        return None
    made = claim is not None and claim.state in {"intended", "created", "uncertain"} and not item.tags
    return None if made else "it does not carry kennel's tag"


def _is_tagged_in(scope: Scope, item: Resource) -> bool:
    return item.tags.get(naming.PROJECT_TAG) == naming.PROJECT and scope.holds(item.tags.get(naming.RUN_TAG))


def _is_own_prefix(scope: Scope, item: Resource, bucket: str, existing: Mapping[Key, Resource]) -> bool:
    """Tell whether a prefix is in the project's bucket and only the runs in scope can have written it.

    A bucket without kennel's tag belongs to the user, and a folder `runs/` in it may be anybody's: there only a ledger
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


def _is_named_by(claim: Claim | None, item: Resource) -> bool:
    prefix = item.name.partition("/")[2]
    if claim is None:
        return False
    return _OWNED_PREFIX.match(prefix) is not None or f"{prefix}/".startswith(f"runs/{claim.run_id}/")
