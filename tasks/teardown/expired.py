"""Removes the runs that are past their time to live, which their records here or the tags of what they made tell.

The record decides where there is one, because a later command may have set another time. Of a run that was made on
another machine only the tags are known: the latest time that one of them names counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, LedgerRefused
from tasks.run.expiry import EXPIRES_TAG, expiry_of, time_of
from tasks.run.ledger_contents import inspect_ledger, run_folders
from tasks.run.waiting import Say, say
from tasks.teardown.plan import Resource
from tasks.teardown.search import find_resources
from tasks.teardown.teardown import TeardownReport, tear_down


def tear_down_expired(
    aws: Aws, *, yes: bool, say: Say = say, ask: Callable[[str], str] = input, now: datetime | None = None
) -> TeardownReport:
    """Remove every run that is past its time to live, and return what was done for all of them.

    A run that cannot be removed keeps no other from being removed; its error is raised at the end.

    Raises:
        SettingsRefused: it was not confirmed, or a model would be lost and `yes` is not given.
        LedgerRefused: a record of a run's time to live cannot be read.
        RunBusy: another process works on one of the runs.
        TeardownIncomplete: a resource could not be removed or still exists.
        AwsFailed: a lookup failed.
    """
    moment, (times, failures) = now or datetime.now(UTC), times_to_live(aws)
    for unreadable in failures:
        say(f"{unreadable.what}; the other runs are removed first")
    past = {name: at for name, at in sorted(times.items()) if at <= moment}
    if not past:
        say("no run is past its time to live")
    reports = []
    for name, at in past.items():
        say(f"run {name}: its time to live was over at {at.astimezone(UTC).isoformat(timespec='seconds')}")
        try:
            reports.append(tear_down(aws, name, yes=yes, say=say, ask=ask))
        except KennelError as error:
            say(f"run {name}: {error.what}; the other runs are removed first")
            failures.append(error)
    if failures:
        raise failures[0]
    return _together(reports)


def times_to_live(aws: Aws) -> tuple[dict[str, datetime], list[KennelError]]:
    """Return when each run that has a time to live is past it, and the error of each whose record cannot be read.

    Raises:
        AwsFailed: a lookup failed.
    """
    found, unreadable = dict[str, datetime](), list[KennelError]()
    for name, at in _tagged(find_resources(aws, [])):
        found[name] = max(at, found.get(name, at))
    for folder in run_folders(aws.settings.runs):
        if folder.name not in found and not _may_have_something(folder):
            continue
        try:
            recorded = expiry_of(folder)
        except LedgerRefused as error:  # it may have had a later time than the tags
            unreadable.append(error)
            found.pop(folder.name, None)
            continue
        if recorded is not None:
            found[folder.name] = recorded
    return found, unreadable


def _may_have_something(folder: Path) -> bool:
    """Tell whether a run's ledger names something that may exist, or cannot be read."""
    try:
        contents = inspect_ledger(folder)
    except LedgerRefused:
        return True
    return bool(contents.live or contents.faults)


def _tagged(resources: Iterable[Resource]) -> Iterable[tuple[str, datetime]]:
    """Yield the run and the time of each resource that has both; the id comes from a tag, so it is checked."""
    for each in resources:
        name, at = each.tags.get(naming.RUN_TAG, ""), time_of(each.tags.get(EXPIRES_TAG, ""))
        if at is not None and naming.RUN_ID.fits(name):
            yield name, at


def _together(reports: list[TeardownReport]) -> TeardownReport:
    return TeardownReport(
        removed=tuple(name for each in reports for name in each.removed),
        kept=tuple(name for each in reports for name in each.kept),
        gone_already=sum(each.gone_already for each in reports),
        runs=tuple(name for each in reports for name in each.runs),
        models_kept=tuple(name for each in reports for name in each.models_kept),
        models_lost=tuple(name for each in reports for name in each.models_lost),
    )
