"""Recognise a changing call that AWS carried out although it failed here, because its answer was lost.

botocore repeats a call that got no answer, or one that cannot be read (`tasks.run.malformed_answers`). AWS refuses the
repetition in as many ways as it has operations ("already exists", "not found", "in progress", "duplicate", a limit),
and after the last repetition there is no answer at all. So the error is not judged: the thing is looked at again, and
if the change is there, the call succeeded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

from tasks.run.errors import AwsFailed, error_code
from tasks.run.malformed_answers import MalformedAnswerError
from tasks.run.waiting import say

Found = TypeVar("Found")


def carried_out(what: str, call: Callable[[], Found], look: Callable[[], Found | None]) -> Found:
    """Return the answer of a changing call or, if it failed, what `look` finds of its result.

    `look` reads the thing and returns None if the change is not there.

    Raises:
        ClientError, BotoCoreError: the call failed, and its change is not there.
        OwnershipRefused: `look` finds that the thing belongs to somebody else.
    """
    try:
        return call()
    except (ClientError, BotoCoreError) as error:
        return look_again(error, what, look)


def look_again(error: ClientError | BotoCoreError, what: str, look: Callable[[], Found | None]) -> Found:
    """Return what `look` finds after a changing call ended with `error`.

    Raises:
        ClientError, BotoCoreError: `error` itself, because `look` finds nothing or gets no answer either.
        OwnershipRefused: `look` finds that the thing belongs to somebody else.
    """
    try:
        found = look()
    except (ClientError, BotoCoreError, AwsFailed) as unseen:
        raise error from unseen
    if found is None:
        raise error
    say(f"{what}: {_in_words(error)}, but the call was carried out")
    return found


def repeated_if_lost(call: Callable[[], Found], *, times: int = 1) -> Found:
    """Return the answer of a call that has the same result when it is repeated; repeat it if no answer came.

    Raises:
        ClientError, BotoCoreError: AWS refused the call, could not be reached, or did not answer any repetition.
    """
    for _ in range(times):
        try:
            return call()
        except (ConnectionClosedError, ReadTimeoutError, MalformedAnswerError):
            say("AWS's answer was lost; the call has the same result when it is repeated, so it is")
    return call()


def true_or_none(holds: bool) -> bool | None:
    """Return True if a change is there, else None: the result of a `look` that has nothing to return."""
    return holds or None


def _in_words(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, MalformedAnswerError):
        return "AWS's answer cannot be read"
    return f"AWS answered {error_code(error)}" if isinstance(error, ClientError) else "AWS's answer was lost"
