"""Removes a run, or all of kennel, from the account: find, plan, show, confirm, copy the models, remove, verify.

Resources are found by the ledgers and by their tags. Before anything is removed, a resource that was found by its tags
is written into the ledger of its run, so that the next teardown can finish an interrupted one. When one resource cannot
be removed, the others still are. At the end all resources are looked for again, and each that is left is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.disk import disk_failure
from tasks.run.errors import (
    KennelError,
    LedgerRefused,
    SettingsRefused,
    TeardownIncomplete,
    Unexpected,
    translate,
    unexpected,
)
from tasks.run.handle import Run
from tasks.run.ledger import Ledger, crash_point
from tasks.run.ledger_contents import LedgerHeader, LedgerRow, has_lost_its_ledger, inspect_ledger, run_folders
from tasks.run.ledger_file import FILE_NAME
from tasks.run.logical_aws import is_lost
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.progress_file import forget_progress
from tasks.run.waiting import Say, say
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.ec2 import delete_private_keys
from tasks.teardown.kinds import Kind
from tasks.teardown.models import NO_COPIES, ModelCopies, keep_models
from tasks.teardown.plan import SHARED, Claim, Plan, Removal, Scope, make_plan, plan_text
from tasks.teardown.rebuild import rebuild_if_damaged
from tasks.teardown.search import AGAIN, WHERE, find_resources

_CONFIRMED = "run the same command with --yes"

NEEDED_BY = {
    "tuning-job": ("training-job", "role"),
    "training-job": ("role",),
    "processing-job": ("role",),
    "notebook-instance": ("notebook-lifecycle", "role"),
    "endpoint": ("role",),
    "instance": ("security-group", "key-pair", "instance-profile", "role"),
}
"""The kinds that have to stay while a resource of a kind still exists."""

SHOWN_CHARACTERS = 300
"""How much of what happened to a resource the closing message repeats."""

_CALLS_OF_A_REMOVAL = 3
"""A removal needs at most three kinds of calls, and the answer to each may be lost; what is gone is no error for it."""

VISIBLE_SECONDS = 60.0
"""How long it may take until all of EC2's servers know a new instance."""


@dataclass(frozen=True)
class _Failure:
    """A resource that could not be removed, and why."""

    item: Removal
    error: KennelError

    @property
    def text(self) -> str:
        return f"{self.item.kind} {self.item.name}: {self.error.what:.{SHOWN_CHARACTERS}}"


@dataclass(frozen=True)
class TeardownReport:
    """What a teardown did; resources are named "<kind> <name>".

    `models_kept` are the copies on this machine of removed models, `models_lost` the removed models without a copy.
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
    """Return the claims in the ledgers of this account and AWS, and a warning for each ledger that is something else.

    Of a damaged ledger, the undamaged rows are claims. So are the rows of an embedded AWS that has ended: they only say
    which ledgers have rows to close.
    """
    claims: list[Claim] = []
    warnings: list[str] = []
    for path in (folder / FILE_NAME for folder in run_folders(aws.settings.runs)):
        if has_lost_its_ledger(path.parent):
            warnings.append(f"{path} is missing: what the run created is found by its tags only")
        try:
            contents = inspect_ledger(path.parent)
        except LedgerRefused as error:
            warnings.append(f"{error.what}: {error.why}; it is not changed")
            continue
        if contents.faults:
            fault = contents.faults[0]
            warnings.append(f"{path}:{fault.line} is damaged: {fault.why}; the tags and its other rows are used")
        has_ended = _is_lost(contents.header, aws)
        if contents.live and contents.header and not has_ended and not _is_here(contents.header, aws):
            warnings.append(f"{path} belongs to {contents.header.aws.text}; it is not changed")
            continue
        run_id = path.parent.name
        claims += [Claim(row.kind, row.name, run_id, "adopted" if has_ended else row.state) for row in contents.live]
    return claims, warnings


def plan_teardown(aws: Aws, run_id: str | None) -> tuple[Plan, list[str]]:
    """Find the account's resources and return the plan and warnings; nothing is changed.

    Raises:
        AwsFailed: a lookup failed.
    """
    scope = scope_of(run_id)
    claims, warnings = read_claims(aws)
    return make_plan(scope, claims, find_resources(aws, claims), bucket=aws.bucket), warnings


def confirm(plan: Plan, *, yes: bool, ask: Callable[[str], str] = input, is_terminal: bool | None = None) -> None:
    """Ask for confirmation, unless `yes` is given or there is nothing to remove.

    Raises:
        SettingsRefused: the answer is not "yes", or there is no terminal to ask at.
    """
    if yes or not plan.removals:
        return
    what = f"{len(plan.removals)} resources would be removed"
    if not (sys.stdin.isatty() if is_terminal is None else is_terminal):
        raise SettingsRefused(WHERE, what, "there is no terminal to ask at, and --yes was not given", _CONFIRMED)
    if ask(f"Remove these {len(plan.removals)} resources? Type yes: ").strip().lower() != "yes":
        raise SettingsRefused(WHERE, what, "the answer was not yes; nothing was removed", _CONFIRMED)


def execute(
    aws: Aws,
    plan: Plan,
    run_id: str | None,
    *,
    say: Say = say,
    kinds: Mapping[str, Kind] = KINDS,
    models: ModelCopies = NO_COPIES,
) -> TeardownReport:
    """Remove the plan's resources in order and verify that they are gone; `models` is only passed on to the report.

    Raises:
        RunBusy: another process works on one of the runs; nothing was removed.
        TeardownIncomplete: a resource could not be removed or still exists; everything else is gone.
        AwsFailed: a lookup failed.
    """
    runs = _runs_of(plan, _damaged_runs(aws, run_id))
    with _locked(aws, runs):
        opened = {name: _open_ledger(Run(aws, name), say) for name in runs}
        ledgers = {name: ledger for name, ledger in opened.items() if ledger is not None}
        for item in plan.removals:
            _record_in_ledger(ledgers.get(item.run_id or ""), item)
        failures = _remove_all(aws, plan, ledgers, kinds, say)
        try:
            left = _remaining(aws, plan, run_id, kinds)
        except KennelError as error:
            if failures:
                raise _incomplete(failures, [f"what else is left is not known: {error.what}"]) from error
            raise
        _close_released_rows(ledgers, plan, aws.bucket if ("bucket", aws.bucket) not in left else None)
        _close_rows_of_missing(aws, ledgers, plan, say)
    problems = [f"{kind} {name} is still there" for kind, name in sorted(left)]
    problems += [f"{item.kind} {item.name}: {item.reason}" for item in plan.kept if item.kind not in kinds]
    if failures or problems:
        defects = (each.error for each in failures if isinstance(each.error, Unexpected))
        raise _incomplete(failures, problems) from next(defects, None)
    removed = tuple(f"{item.kind} {item.name}" for item in plan.removals)
    kept = tuple(f"{item.kind} {item.name}: {item.reason}" for item in plan.kept)
    return TeardownReport(removed, kept, len(plan.gone), tuple(runs), models.kept, models.lost)


def tear_down(
    aws: Aws, run_id: str | None, *, yes: bool, say: Say = say, ask: Callable[[str], str] = input
) -> TeardownReport:
    """Do a whole teardown: plan, show, confirm, copy the models to this machine, remove, verify.

    Raises:
        SettingsRefused: it was not confirmed, or a model would be lost and `yes` is not given.
        RunBusy: another process works on one of the runs; nothing was removed.
        TeardownIncomplete: a resource could not be removed or still exists.
        AwsFailed: a lookup failed.
    """
    plan, warnings = plan_teardown(aws, run_id)
    for line in (*warnings, *plan_text(plan).splitlines()):
        say(line)
    confirm(plan, yes=yes, ask=ask)
    models = keep_models(aws, plan, yes=yes, say=say)
    return execute(aws, plan, run_id, say=say, models=models)


def _is_here(header: LedgerHeader, aws: Aws) -> bool:
    here = (aws.account_id, aws.region) == (header.account_id, header.region)
    return here and header.aws.is_same(aws.identity)


def _is_lost(header: LedgerHeader | None, aws: Aws) -> bool:
    return header is not None and not header.aws.is_same(aws.identity) and is_lost(header.aws, aws.identity)


@contextmanager
def _locked(aws: Aws, runs: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name in runs:
            stack.enter_context(Run(aws, name).lock())
            forget_progress(aws.settings.run_dir(name))
        yield


def _incomplete(failures: list[_Failure], problems: list[str]) -> TeardownIncomplete:
    every = [each.text for each in failures] + problems
    what = f"{len(every)} problems: " + "; ".join(every)
    return TeardownIncomplete(WHERE, what, "everything else was removed", AGAIN)


def _remove_all(
    aws: Aws, plan: Plan, ledgers: Mapping[str, Ledger], kinds: Mapping[str, Kind], say: Say
) -> list[_Failure]:
    """Remove in the plan's order and return the failures.

    When a job, endpoint or instance could not be removed, what it needs stays: AWS cannot delete an endpoint whose role
    is gone, nor a security group that an instance uses.
    """
    failures: list[_Failure] = []
    stuck: set[tuple[str | None, str]] = set()
    for item in plan.removals:
        if (item.run_id, item.kind) in stuck:
            say(f"  keep   {item.kind} {item.name}: a resource that needs it could not be removed")
            continue
        try:
            _remove(aws, item, ledgers, kinds, say)
        except Exception as error:  # noqa: BLE001  the other resources cost money too
            known = _known(error, f"remove {item.kind} {item.name}")
            say(f"  FAILED {item.kind} {item.name}: {known.what}: {known.why}")
            failures.append(_Failure(item, known))
            stuck.update((item.run_id, kind) for kind in NEEDED_BY.get(item.kind, ()))
    return failures


def _remove(aws: Aws, item: Removal, ledgers: Mapping[str, Ledger], kinds: Mapping[str, Kind], say: Say) -> None:
    """Remove one resource and close its rows in the ledgers; any error may be raised."""
    crash_point(f"remove-{item.kind}:before")
    repeated_if_lost(lambda: kinds[item.kind].remove(aws, item.name), times=_CALLS_OF_A_REMOVAL)
    crash_point(f"remove-{item.kind}:after")
    if item.kind in SHARED and kinds[item.kind].find(aws, item.name) is not None:
        say(f"  keep   {item.kind} {item.name}: it holds what is not of these runs")
    else:
        say(f"  gone   {item.kind} {item.name}")
    if item.kind != "bucket":
        for ledger in ledgers.values():  # datasets and weights may be in the ledgers of several runs
            _close_rows(ledger, [(item.kind, item.name)])


def _known(error: Exception, where: str) -> KennelError:
    if isinstance(error, KennelError):
        return error
    if isinstance(error, ClientError | BotoCoreError):
        return translate(error, where)
    known = (disk_failure(error, where) if isinstance(error, OSError) else None) or unexpected(error, where)
    known.__cause__ = error
    return known


def _remaining(aws: Aws, plan: Plan, run_id: str | None, kinds: Mapping[str, Kind]) -> set[tuple[str, str]]:
    """Return the planned resources that still exist; what runs share counts only when everything was to be removed."""
    scope = scope_of(run_id)
    claims, _ = read_claims(aws)
    planned = [Claim(item.kind, item.name, item.run_id or "", "created") for item in plan.removals]
    found = find_resources(aws, [*claims, *planned], kinds)
    again = make_plan(scope, [*claims, *planned], found, bucket=aws.bucket)
    left = {(item.kind, item.name) for item in again.removals}
    return {key for key in left if key[0] not in SHARED or run_id is None}


def _damaged_runs(aws: Aws, run_id: str | None) -> set[str]:
    """Return the runs in scope whose ledgers are damaged and do not belong to another AWS."""
    damaged = set()
    for path in aws.settings.runs.glob(f"{run_id or '*'}/{FILE_NAME}"):
        with suppress(LedgerRefused):
            contents = inspect_ledger(path.parent)
            header = contents.header
            if contents.faults and (header is None or _is_here(header, aws) or _is_lost(header, aws)):
                damaged.add(path.parent.name)
    return damaged


def _open_ledger(run: Run, say: Say) -> Ledger | None:
    """Return the run's ledger, rebuilt if it was damaged, or None for one that cannot be used: the tags are enough."""
    try:
        rebuild_if_damaged(run, say=say)
        return run.ledger
    except LedgerRefused as error:
        say(f"  unsure run {run.id}: its ledger is not changed: {error.what}: {error.why}")
        return None


def _runs_of(plan: Plan, damaged: set[str]) -> list[str]:
    """Return the runs whose ledgers change; the id may come from a tag, so it is checked before it becomes a path."""
    named = {item.run_id for item in plan.removals} | {claim.run_id for claim in plan.gone} | damaged
    named |= {item.released_by for item in plan.kept}
    return sorted(name for name in named if name and naming.RUN_ID.fits(name))


def _close_rows_of_missing(aws: Aws, ledgers: Mapping[str, Ledger], plan: Plan, say: Say) -> None:
    """Close the rows of resources that were gone before, except a new instance's, which EC2 may not show yet."""
    for claim in plan.gone:
        ledger = ledgers.get(claim.run_id)
        if ledger is None:
            continue
        if claim.kind == "instance" and _is_new(ledger, claim):
            say(f"  unsure instance {claim.name}: EC2 may not show it yet; {AGAIN} in a minute")
            continue
        if claim.kind == "key-pair":
            delete_private_keys(aws, claim.name)
        if (claim.kind, claim.name) in {(row.kind, row.name) for row in ledger.live()}:
            ledger.mark_removed(claim.kind, claim.name)


def _is_new(ledger: Ledger, claim: Claim) -> bool:
    rows = [row for row in ledger.live() if (row.kind, row.name) == (claim.kind, claim.name)]
    return any(row.age_seconds < VISIBLE_SECONDS for row in rows)


def _close_released_rows(ledgers: Mapping[str, Ledger], plan: Plan, bucket: str | None) -> None:
    """Close the rows of resources that only other runs still use, and the rows of the bucket if one is named."""
    for kept in plan.kept:
        ledger = ledgers.get(kept.released_by or "")
        if ledger is not None:
            _close_rows(ledger, [(kept.kind, kept.name)])
    for own in ledgers.values():
        _close_rows(own, [("bucket", bucket)] if bucket else [])


def _record_in_ledger(ledger: Ledger | None, item: Removal) -> None:
    """Write a resource that was found by tags alone into the ledger, so that the next teardown can finish this one."""
    if ledger is not None and (item.kind, item.name) not in {_claim(ledger, row).key for row in ledger.live()}:
        ledger.adopt(item.kind, item.name)


def _close_rows(ledger: Ledger, keys: list[tuple[str, str]]) -> None:
    """Mark a ledger's rows of some resources as removed."""
    for row in ledger.live():
        if _claim(ledger, row).key in keys:
            ledger.mark_removed(row.kind, row.name)


def _claim(ledger: Ledger, row: LedgerRow) -> Claim:
    return Claim(row.kind, row.name, ledger.path.parent.name, row.state)
