"""Defines a kind of resource as three functions (find by name, find by tag, remove), and how each of them waits.

This module deletes nothing. `tasks.teardown.all_kinds` collects the kinds from the modules that define them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import error_code, is_not_found
from tasks.run.settings import Target
from tasks.run.waiting import REAL_TIME, Waiting, wait_for
from tasks.teardown.plan import Resource

REMOVE_SECONDS = 1800.0
"""AWS cannot delete an endpoint while it is being created, which takes minutes; a job may take 120 s to stop."""

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
    """The three functions of a kind of resource.

    `find` returns the resource of a name with its tags, or None. `find_tagged` returns all resources of the kind that
    carry kennel's tag. `remove` returns once the resource is gone; one that does not exist is no error.
    """

    find: Callable[[Aws, str], Resource | None]
    find_tagged: Callable[[Aws], Iterable[Resource]]
    remove: Callable[[Aws, str], None]


def until_gone(
    target: Target,
    what: str,
    delete: Callable[[], object],
    exists: Callable[[], bool],
    *,
    waiting: Waiting = REAL_TIME,
    timeout_seconds: float = REMOVE_SECONDS,
) -> None:
    """Delete a resource, trying again while another one still uses it, and wait until it does not exist.

    Raises:
        WaitTimedOut: the resource still existed after `timeout_seconds`.
        ClientError: AWS refused for a reason that waiting does not change.
    """
    accepted = False

    def probe() -> tuple[bool | None, str]:
        nonlocal accepted
        try:
            if not accepted:
                delete()
                accepted = True
            return (None, "there") if exists() else (True, "gone")
        except ClientError as error:
            if is_not_found(error):
                return True, "gone"
            if not _is_temporary(error):
                raise
            return None, f"in use ({error})"

    wait_for(
        target,
        f"remove {what}",
        probe,
        deadline_seconds=timeout_seconds,
        poll_seconds=POLL_SECONDS,
        next_command="run the same command again",
        waiting=waiting,
    )


def _is_temporary(error: ClientError) -> bool:
    message = str(error.response["Error"].get("Message", ""))
    return error_code(error) in _BUSY or (
        error_code(error) == "ValidationException" and "in-progress" in message.lower()
    )


def only_tagged(found: Iterable[Resource | None]) -> Iterator[Resource]:
    """Yield the resources that exist and carry the project's tag."""
    return (item for item in found if item is not None and item.tags.get(naming.PROJECT_TAG) == naming.PROJECT)


def find_none(_: Aws) -> Iterable[Resource]:
    """Return nothing, for kinds that carry no tags: they are removed with the resource that they belong to."""
    return ()
