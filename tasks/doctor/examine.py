"""Make several checks at the same time, until a deadline; what cannot be looked at becomes a row that says so.

The threads are daemons, so that a check which still waits for an answer does not keep the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from tasks.doctor.findings import Finding, skipped
from tasks.run.errors import KennelError, aws_boundary

Result = TypeVar("Result")


@dataclass(frozen=True)
class Check:
    """A check by its name; `look` returns its rows, or raises what AWS or this machine answered."""

    name: str
    look: Callable[[], Iterable[Finding]]


def examine(checks: Sequence[Check], deadline_seconds: float) -> tuple[Finding, ...]:
    """Make all checks at the same time and return their rows, in the order of the checks.

    A check that has not ended at the deadline has one row, which says that.
    """
    begun = [begin(lambda check=check: rows_of(check)) for check in checks]  # type: ignore[misc]
    wait(begun, timeout=deadline_seconds)
    return tuple(
        row
        for check, future in zip(checks, begun, strict=True)
        for row in (future.result() if future.done() else (_late(check, deadline_seconds),))
    )


def rows_of(check: Check) -> tuple[Finding, ...]:
    """Make a check and return its rows; an error becomes a row after those that were found before it."""
    found: list[Finding] = []
    try:
        with aws_boundary(check.name):
            found.extend(check.look())
    except KennelError as error:
        found.append(skipped(check.name, f"{error.what}: {error.why}", error.next_command))
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        why = f"the answer is not as it should be ({type(error).__name__}: {error!s:.100})"
        found.append(skipped(check.name, why, "run kennel doctor again; if it stays so, report it"))
    return tuple(found)


def begin(work: Callable[[], Result]) -> Future[Result]:
    """Start work in a daemon thread of its own."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name="check", daemon=True).start()
    return future


def _late(check: Check, deadline_seconds: float) -> Finding:
    return skipped(
        check.name, f"no answer within {deadline_seconds:.0f} s", "check the network, run kennel doctor again"
    )
