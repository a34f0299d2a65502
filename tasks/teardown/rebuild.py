"""Rebuilds a damaged ledger: from its own undamaged rows, and from the resources that carry the run's tags.

The damaged file is kept as `ledger.jsonl.damaged-<n>`. A resource without tags, such as an alias, is found by the
resource that it belongs to; a prefix of a run in a bucket of the user's own is found only by an undamaged row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.run.handle import Run
from tasks.run.ledger import renew_ledger
from tasks.run.ledger_contents import damaged, inspect_ledger
from tasks.run.waiting import Say, say
from tasks.teardown.plan import Claim, Scope, make_plan
from tasks.teardown.search import find_resources


@contextmanager
def working_on(run: Run, stage: str) -> Iterator[None]:
    """Lock a run for this process while it does a stage, and rebuild the run's ledger first if that is damaged.

    Raises:
        RunBusy: another process holds the lock; the message names its pid.
        LedgerRefused, AwsFailed: as `rebuild_if_damaged`.
    """
    with run.at_work(stage):
        rebuild_if_damaged(run)
        yield


def rebuild_if_damaged(run: Run, *, say: Say = say) -> bool:
    """Rebuild the run's ledger if it is damaged, say so, and tell whether it was; without damage, no call is made.

    Raises:
        LedgerRefused: it belongs to another account or AWS, or it cannot be read.
        AwsFailed: a lookup failed; the undamaged rows are in the new ledger already.
    """
    before = inspect_ledger(run.folder)
    if not before.faults:
        return False
    error = damaged(run.folder, before.faults[0])
    aside = renew_ledger(run.folder)
    say(f"WARNING: {error.what}: {error.why}; it is kept as {aside}")
    found = _adopt_tagged(run)
    whole = len(run.ledger.live()) - found
    say(f"run {run.id}: its ledger was rebuilt: {whole} resources from its undamaged rows, {found} from their tags")
    return True


def _adopt_tagged(run: Run) -> int:
    """Write the run's resources that no row names into the ledger, and return how many they are."""
    claims = [Claim(row.kind, row.name, run.id, row.state) for row in run.ledger.live()]
    plan = make_plan(Scope(frozenset({run.id})), claims, find_resources(run.aws, claims), bucket=run.aws.bucket)
    known = {claim.key for claim in claims}
    missing = [item for item in plan.removals if (item.kind, item.name) not in known]
    for item in missing:
        run.ledger.adopt(item.kind, item.name)
    return len(missing)
