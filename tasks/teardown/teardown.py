"""Taking a run, or all of kennel, out of the account: look, plan, show, ask, keep its models, remove, look again.

Works from the ledgers and, without them, from the tags; before anything is removed, what was found by tags is written
into the ledger of its run, so that a teardown that is interrupted is finished by the next one. One resource that will
not go does not keep the others. At the end everything is looked for again, and what is left is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, SettingsRefused, TeardownIncomplete, aws_boundary, translate
from tasks.run.handle import Run
from tasks.run.ledger import FILE_NAME, Ledger, LedgerHeader, LedgerRow, crash_point, read_ledger
from tasks.teardown.ec2 import forget_keys
from tasks.teardown.kinds import Kind
from tasks.teardown.models import NO_MODELS, Models, keep_models
from tasks.teardown.plan import Claim, Found, Plan, Removal, Scope, make_plan, plan_text
from tasks.teardown.sagemaker_and_storage import KINDS

WHERE = "teardown"
_AGAIN = "kennel down --yes"
Say = Callable[[str], None]

NEEDED_BY = {
    "training-job": ("role",),
    "notebook-instance": ("notebook-lifecycle", "role"),
    "endpoint": ("role",),
    "instance": ("security-group", "key-pair", "instance-profile", "role"),
}
"""What has to stay while a resource of a kind is still there."""

UNSEEN_SECONDS = 60.0
"""How long EC2 may not show an instance that it made."""


@dataclass(frozen=True)
class TeardownReport:
    """What a teardown did; names are "<kind> <name>".

    `models_kept` are files on this machine of the models that were removed, `models_lost` those that are nowhere else.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    gone_already: int
    runs: tuple[str, ...]
    models_kept: tuple[str, ...] = ()
    models_lost: tuple[str, ...] = ()


def scope_of(run_id: str | None) -> Scope:
    """Return the scope of one run, or of every run when none is named."""
    return Scope(None if run_id is None else frozenset({run_id}))


def read_claims(aws: Aws) -> tuple[list[Claim], list[str]]:
    """Return what the ledgers of this account and endpoint claim, and a warning for each ledger of another one."""
    claims: list[Claim] = []
    warnings: list[str] = []
    for path in sorted(aws.settings.runs.glob(f"*/{FILE_NAME}")):
        header, rows = read_ledger(path.parent)
        live = [row for row in rows if row.state != "removed"]
        if live and not _is_here(header, aws):
            warnings.append(f"{path} is of {header.endpoint if header else 'no endpoint'} and left alone")
            continue
        claims.extend(Claim(row.kind, row.name, path.parent.name, row.state) for row in live)
    return claims, warnings


def look(aws: Aws, claims: list[Claim], kinds: Mapping[str, Kind] = KINDS) -> list[Found]:
    """Return everything that exists of what the claims name, and everything that carries kennel's tags."""
    found: dict[tuple[str, str], Found] = {}
    with aws_boundary(WHERE, _AGAIN):
        for kind in kinds.values():
            found.update((item.key, item) for item in kind.search(aws))
        for claim in claims:
            item = None if claim.key in found else _look_one(aws, claim, kinds)
            if item is not None:
                found[item.key] = item
    return list(found.values())


def draw_plan(aws: Aws, run_id: str | None) -> tuple[Plan, list[str]]:
    """Look at the account and decide; changes nothing. Returns warnings beside the plan.

    Raises:
        AwsFailed: a lookup failed.
        LedgerRefused: a ledger is damaged.
    """
    scope = scope_of(run_id)
    claims, warnings = read_claims(aws)
    return make_plan(scope, claims, look(aws, claims), bucket=aws.bucket), warnings


def confirm(plan: Plan, *, yes: bool, ask: Callable[[str], str] = input, is_terminal: bool | None = None) -> None:
    """Ask whether to go on, unless `yes`.

    Raises:
        SettingsRefused: the answer is not "yes", or there is no terminal to ask at.
    """
    if yes or not plan.removals:
        return
    what = f"{len(plan.removals)} resources would be removed"
    if not (sys.stdin.isatty() if is_terminal is None else is_terminal):
        raise SettingsRefused(WHERE, what, "there is no terminal to ask at, and --yes was not given", _AGAIN)
    if ask(f"Remove these {len(plan.removals)} resources? Type yes: ").strip().lower() != "yes":
        raise SettingsRefused(WHERE, what, "the answer was not yes; nothing was removed", _AGAIN)


def execute(
    aws: Aws,
    plan: Plan,
    run_id: str | None,
    *,
    say: Say = print,
    kinds: Mapping[str, Kind] = KINDS,
    models: Models = NO_MODELS,
) -> TeardownReport:
    """Remove what the plan says, in its order, and verify; `models` is what `keep_models` said before, to be reported.

    Raises:
        RunBusy: another process works on one of the runs; nothing was removed.
        TeardownIncomplete: something could not be removed or is still there; everything else is gone.
    """
    runs = _runs_of(plan)
    with _locked(aws, runs):
        ledgers = {name: Run(aws, name).ledger for name in runs}
        for item in plan.removals:
            _write_down(ledgers.get(item.run_id or ""), item)
        failures = _remove_all(aws, plan, ledgers, kinds, say)
        left = _still_there(aws, plan, run_id, kinds)
        _settle(ledgers, plan, aws.bucket if ("bucket", aws.bucket) not in left else None)
        _settle_gone(aws, ledgers, plan, say)
    problems = failures + [f"{kind} {name} is still there" for kind, name in sorted(left)]
    problems += [f"{item.kind} {item.name}: {item.reason}" for item in plan.kept if item.kind not in kinds]
    if problems:
        what = f"{len(problems)} problems: " + "; ".join(problems[:10])
        raise TeardownIncomplete(WHERE, what, "everything else was removed", _AGAIN)
    removed = tuple(f"{item.kind} {item.name}" for item in plan.removals)
    kept = tuple(f"{item.kind} {item.name}: {item.reason}" for item in plan.kept)
    return TeardownReport(removed, kept, len(plan.gone), tuple(runs), models.kept, models.lost)


def tear_down(
    aws: Aws, run_id: str | None, *, yes: bool, say: Say = print, ask: Callable[[str], str] = input
) -> TeardownReport:
    """Do all of it: plan, show, ask, keep the models here, remove, verify.

    Raises:
        SettingsRefused: not confirmed, or a model would be lost and `yes` is not given.
        RunBusy, TeardownIncomplete, AwsFailed, LedgerRefused: as `draw_plan` and `execute` say.
    """
    plan, warnings = draw_plan(aws, run_id)
    for line in (*warnings, *plan_text(plan).splitlines()):
        say(line)
    confirm(plan, yes=yes, ask=ask)
    models = keep_models(aws, plan, yes=yes, say=say)
    return execute(aws, plan, run_id, say=say, models=models)


def _is_here(header: LedgerHeader | None, aws: Aws) -> bool:
    here = (aws.account_id, aws.endpoint, aws.region)
    return header is not None and (header.account_id, header.endpoint, header.region) == here


def _look_one(aws: Aws, claim: Claim, kinds: Mapping[str, Kind]) -> Found | None:
    kind, name = claim.key
    return kinds[kind].look(aws, name) if kind in kinds else Found(kind, name)


@contextmanager
def _locked(aws: Aws, runs: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name in runs:
            stack.enter_context(Run(aws, name).lock())
        yield


def _remove_all(aws: Aws, plan: Plan, ledgers: Mapping[str, Ledger], kinds: Mapping[str, Kind], say: Say) -> list[str]:
    """Remove in the plan's order; return what failed. What a run's job, endpoint or instance needs stays when that
    would not go: AWS cannot delete an endpoint whose role is gone, nor a group that an instance is in."""
    failures: list[str] = []
    stuck: set[tuple[str | None, str]] = set()
    for item in plan.removals:
        if (item.run_id, item.kind) in stuck:
            say(f"  keep   {item.kind} {item.name}: something that needs it could not be removed")
            continue
        failure = _remove(aws, item, ledgers, kinds, say)
        if failure is not None:
            failures.append(failure)
            stuck.update((item.run_id, kind) for kind in NEEDED_BY.get(item.kind, ()))
    return failures


def _remove(aws: Aws, item: Removal, ledgers: Mapping[str, Ledger], kinds: Mapping[str, Kind], say: Say) -> str | None:
    """Remove one resource; return why that failed, or None."""
    crash_point(f"remove-{item.kind}:before")
    try:
        kinds[item.kind].remove(aws, item.name)
    except (KennelError, ClientError, BotoCoreError) as error:
        known = error if isinstance(error, KennelError) else translate(error, f"remove {item.kind} {item.name}")
        say(f"  FAILED {item.kind} {item.name}: {known.what}: {known.why}")
        return f"{item.kind} {item.name}: {known.what}"
    crash_point(f"remove-{item.kind}:after")
    say(f"  gone   {item.kind} {item.name}")
    if item.kind != "bucket":
        for ledger in ledgers.values():  # data and weights may stand in the ledgers of several runs
            _forget(ledger, [(item.kind, item.name)])
    return None


def _still_there(aws: Aws, plan: Plan, run_id: str | None, kinds: Mapping[str, Kind]) -> set[tuple[str, str]]:
    """Look again; a bucket that still holds something is only a fault when everything was to go."""
    scope = scope_of(run_id)
    claims, _ = read_claims(aws)
    planned = [Claim(item.kind, item.name, item.run_id or "", "created") for item in plan.removals]
    again = make_plan(scope, [*claims, *planned], look(aws, [*claims, *planned], kinds), bucket=aws.bucket)
    left = {(item.kind, item.name) for item in again.removals}
    return {key for key in left if key[0] != "bucket" or run_id is None}


def _runs_of(plan: Plan) -> list[str]:
    """Return the runs whose ledgers change; a run named by a tag alone must look like a run id to become a path."""
    named = {item.run_id for item in plan.removals} | {claim.run_id for claim in plan.gone}
    named |= {item.released_by for item in plan.kept}
    return sorted(name for name in named if name and re.match(naming.RUN_ID_PATTERN, name))


def _settle_gone(aws: Aws, ledgers: Mapping[str, Ledger], plan: Plan, say: Say) -> None:
    """Close the rows of what was gone before; the row of an instance that EC2 may only not show yet stays open."""
    for claim in plan.gone:
        ledger = ledgers[claim.run_id]
        if claim.kind == "instance" and _is_young(ledger, claim):
            say(f"  unsure instance {claim.name}: EC2 does not show it, and may yet; run {_AGAIN} again in a minute")
            continue
        if claim.kind == "key-pair":
            forget_keys(aws, claim.name)
        ledger.mark_removed(claim.kind, claim.name)


def _is_young(ledger: Ledger, claim: Claim) -> bool:
    rows = [row for row in ledger.live() if (row.kind, row.name) == (claim.kind, claim.name)]
    return any(row.age_seconds < UNSEEN_SECONDS for row in rows)


def _settle(ledgers: Mapping[str, Ledger], plan: Plan, bucket: str | None) -> None:
    """Close the rows of what other runs keep, and of the bucket unless it should have gone."""
    for kept in plan.kept:
        ledger = ledgers.get(kept.released_by or "")
        if ledger is not None:
            _forget(ledger, [(kept.kind, kept.name)])
    for own in ledgers.values():
        _forget(own, [("bucket", bucket)] if bucket else [])


def _write_down(ledger: Ledger | None, item: Removal) -> None:
    """Have the ledger claim what was found by tags alone, so that an interrupted teardown is finished by the next."""
    if ledger is not None and (item.kind, item.name) not in {_claim(ledger, row).key for row in ledger.live()}:
        ledger.adopt(item.kind, item.name)


def _forget(ledger: Ledger, keys: list[tuple[str, str]]) -> None:
    """Close a ledger's rows of some resources; a run that gave up its part of the bucket has no bucket any more."""
    for row in ledger.live():
        if _claim(ledger, row).key in keys:
            ledger.mark_removed(row.kind, row.name)


def _claim(ledger: Ledger, row: LedgerRow) -> Claim:
    return Claim(row.kind, row.name, ledger.path.parent.name, row.state)
