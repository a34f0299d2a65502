"""What a teardown needs to know of a kind of resource, and how each deleter asks, waits and reads tags.

Deletes nothing by itself: the kinds are in `tasks.teardown.sagemaker_and_storage` and the modules that it collects them
from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import WaitTimedOut, error_code, is_not_found
from tasks.run.waiting import SILENCE_SECONDS, Say, say
from tasks.teardown.plan import Found

REMOVE_SECONDS = 1800.0
"""An endpoint cannot be deleted while it is being created, which takes AWS minutes; a job may take 120 s to stop."""

POLL_SECONDS = 0.25
_BUSY = frozenset(
    {
        "ResourceInUse",
        "ResourceConflictException",
        "DeleteConflict",
        "BucketNotEmpty",
        "OperationAborted",
        "DependencyViolation",
        "InvalidGroup.InUse",
    }
)


@dataclass(frozen=True)
class Kind:
    """What can be done with one kind of resource, by its name."""

    look: Callable[[Aws, str], Found | None]
    search: Callable[[Aws], Iterable[Found]]
    remove: Callable[[Aws, str], None]


def until_gone(
    what: str,
    delete: Callable[[], object],
    exists: Callable[[], bool],
    *,
    say: Say = say,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    timeout_seconds: float = REMOVE_SECONDS,
) -> None:
    """Delete, again while something else still holds it, and wait until it does not exist.

    Raises:
        WaitTimedOut: it was still there after `timeout_seconds`.
        ClientError: AWS refused for a reason that does not pass.
    """
    begun = said = clock()
    accepted, last = False, "it was still there"
    while (now := clock()) - begun < timeout_seconds:
        if now - said >= SILENCE_SECONDS:
            say(f"{what}: waiting until it is gone ({last}), {now - begun:.0f} s")
            said = now
        try:
            if not accepted:
                delete()
                accepted = True
            if not exists():
                return
        except ClientError as error:
            if is_not_found(error):
                return
            if not _passes(error):
                raise
            last = str(error)
        sleep(POLL_SECONDS)
    raise WaitTimedOut(f"remove {what}", f"not gone after {timeout_seconds:g} s", last, "kennel down --yes")


def _passes(error: ClientError) -> bool:
    message = str(error.response["Error"].get("Message", ""))
    return error_code(error) in _BUSY or (
        error_code(error) == "ValidationException" and "in-progress" in message.lower()
    )


def tagged(found: Iterable[Found | None]) -> Iterator[Found]:
    """Leave out what does not exist and what does not carry the project's tag."""
    return (item for item in found if item is not None and item.tags.get(naming.PROJECT_TAG) == naming.PROJECT)
