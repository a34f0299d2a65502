"""Terminates EC2 instances of a run, waits until they have ended, and closes their ledger rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from botocore.exceptions import ClientError

from tasks.ec2.state import (
    KIND,
    LOST_ANSWER_SECONDS,
    POLL_SECONDS,
    VISIBLE_SECONDS,
    instances_of,
    wait_ended,
)
from tasks.run.errors import KennelError, TeardownIncomplete, aws_boundary, is_not_found
from tasks.run.handle import Run
from tasks.run.ledger import Ledger
from tasks.run.ledger_contents import inspect_ledger, live_rows
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.waiting import REAL_TIME, Patience, Waiting, say, wait_for


def end_instances(run: Run) -> tuple[str, ...]:
    """Terminate all instances of a run that have not ended, and return their ids; a run without any is fine.

    EC2 may not show an instance at once whose launch was interrupted, so such an instance is looked for during 10 s.

    Raises:
        TeardownIncomplete: some could not be terminated.
        AwsFailed: EC2 refused to list them.
    """
    instance_ids = _ids_of(run)
    if instance_ids:
        _open_ledger(run)  # refuses a run of another account before anything is changed there
        say(f"terminating {', '.join(instance_ids)}")
        terminate(run, instance_ids)
    return instance_ids


def end_instances_at_exit(run: Run) -> None:
    """Terminate a run's instances at the end of a block that uses them.

    If that fails after another error, it is printed, and the first error is the one that is raised.

    Raises:
        TeardownIncomplete, AwsFailed: as `end_instances`, if no other error is being raised.
    """
    has_failed = sys.exception() is not None
    try:
        end_instances(run)
    except KennelError as error:
        if not has_failed:
            raise
        say(f"WARNING: {error}")


def _ids_of(run: Run) -> tuple[str, ...]:
    """Return the ids of the run's instances that have not ended, after looking for interrupted launches."""
    interrupted = {
        row.name
        for row in live_rows(run.folder)
        if (row.kind, row.state) == (KIND, "intended") and row.age_seconds < VISIBLE_SECONDS
    }
    patience = Patience(f"instances of run {run.id}", run.aws.target)
    while True:
        with aws_boundary(f"instances of run {run.id}"):
            found = instances_of(run.aws, run.id)
        missing = interrupted - {item.get("ClientToken") for item in found}
        left = LOST_ANSWER_SECONDS - patience.spent_seconds
        if not missing or left < 0:
            return tuple(str(item["InstanceId"]) for item in found)
        patience.pause(f"{', '.join(sorted(missing))} not shown by EC2", POLL_SECONDS, most_seconds=left + 0.1)


def terminate(run: Run, instance_ids: Sequence[str], *, waiting: Waiting = REAL_TIME) -> None:
    """Terminate instances and wait until they have ended.

    Each has a call of its own: EC2 refuses a common call as a whole when one of its ids is bad.

    Raises:
        TeardownIncomplete: some could not be terminated; the others are gone.
    """
    failures: dict[str, KennelError] = {}
    for instance_id in instance_ids:
        with _failure_noted(failures, instance_id):
            _request_end(run, instance_id, waiting)
    for instance_id in [item for item in instance_ids if item not in failures]:
        with _failure_noted(failures, instance_id):
            wait_ended(run.aws, instance_id, waiting)
    ledger = _open_ledger(run)
    if ledger is not None:
        _close_rows(ledger, set(instance_ids) - set(failures))
    if failures:
        what = "; ".join(f"{instance_id}: {error.what}: {error.why}" for instance_id, error in failures.items())
        raise TeardownIncomplete(
            "terminate", what, "an instance that still runs costs money", f"kennel down {run.id} --yes"
        )


def _open_ledger(run: Run) -> Ledger | None:
    """Return the run's ledger, or None for a damaged one: instances cost money, and are found by their tags."""
    return None if inspect_ledger(run.folder).faults else run.ledger


def _close_rows(ledger: Ledger, instance_ids: set[str]) -> None:
    for row in ledger.live():
        if row.kind == KIND and row.identifier in instance_ids:
            ledger.mark_removed(KIND, row.name)


@contextmanager
def _failure_noted(failures: dict[str, KennelError], instance_id: str) -> Iterator[None]:
    """Note the error of one instance instead of raising it, so that the other instances are still terminated."""
    try:
        yield
    except KennelError as error:
        failures[instance_id] = error


def _request_end(run: Run, instance_id: str, waiting: Waiting) -> None:
    """Send TerminateInstances, again while EC2 may not know a new instance on all of its servers yet."""

    def probe() -> tuple[bool | None, str]:
        try:
            repeated_if_lost(lambda: run.aws.client("ec2").terminate_instances(InstanceIds=[instance_id]))
        except ClientError as error:
            if not is_not_found(error):
                raise
            if _is_new(run, instance_id):
                return None, "not known to EC2 yet"
        return True, "ending"

    what, target = f"terminate {instance_id}", run.aws.target
    with aws_boundary(what):
        wait_for(target, what, probe, deadline_seconds=VISIBLE_SECONDS, poll_seconds=POLL_SECONDS, waiting=waiting)


def _is_new(run: Run, instance_id: str) -> bool:
    """Tell whether this run launched the instance less than a minute ago."""
    rows = [row for row in live_rows(run.folder) if row.kind == KIND and row.identifier == instance_id]
    return any(row.age_seconds < VISIBLE_SECONDS for row in rows)
