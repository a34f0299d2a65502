"""Begins a run within its limits: refuses one that may cost more than its budget, and notes its time to live."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tasks.plan.consent import require_within_budget
from tasks.plan.plan import make_plan
from tasks.plan.text import amounts
from tasks.plan.wanted import Limits, Wanted
from tasks.run.aws import Aws
from tasks.run.expiry import Expiry, expiry_of, set_expiry
from tasks.run.record_store import forget_record
from tasks.run.settings import Settings
from tasks.run.waiting import say


def begin_within(wanted: Wanted, limits: Limits) -> None:
    """Return if the run may begin; from then on what it makes carries the end of its time to live.

    Raises:
        SpendingRefused: the run may cost more than its budget, or a price is unknown.
        AwsFailed: a lookup failed.
        DiskFailed: the time to live cannot be noted.
    """
    settings = Settings.load()
    if limits.budget_usd is not None:
        plan = make_plan(wanted, limits, Aws(settings), settings)
        require_within_budget(plan)
        say(f"budget: this run costs {amounts(plan.usd)} USD of {limits.budget_usd:g}")
    folder = settings.run_dir(wanted.run_id)
    if limits.ttl_hours is None:
        _drop_past(folder)
    else:
        expiry = set_expiry(folder, limits.ttl_hours)
        say(f"time to live: until {expiry.text}, then `kennel down --expired` removes what the run made")


def _drop_past(folder: Path) -> None:
    """Forget a time to live that is past: what is made from now on is not to be removed at once."""
    at = expiry_of(folder)
    if at is not None and at <= datetime.now(UTC):
        forget_record(folder, Expiry)
        say(f"time to live: it was over at {at.isoformat(timespec='seconds')}; what exists keeps that tag")
