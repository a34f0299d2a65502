"""Log what tasks do, and wait with a deadline while logging the state from time to time.

All lines go to the logger `kennel`. The command shows them on stderr; a worker's flow run sends them to Prefect
(`PREFECT_LOGGING_EXTRA_LOGGERS=kennel`). The clock is a parameter (`Waiting`), so that a test of a wait takes no time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from botocore.exceptions import ClientError

from tasks.run.error_codes import THROTTLED
from tasks.run.errors import LimitReached, MalformedAnswer, NotFound, WaitTimedOut, error_code, is_not_found
from tasks.run.malformed_answers import MalformedAnswerError
from tasks.run.progress import LOGGER
from tasks.run.settings import Target

Found = TypeVar("Found")
Say = Callable[[str], None]

LOGGER.setLevel(logging.DEBUG)  # Prefect adds a handler to an extra logger but no level, so INFO would be dropped
SILENCE_SECONDS = 8.0
NOT_SHOWN = "not shown by AWS yet"
ROLE_PROPAGATION_SECONDS = 90.0
NOT_SHOWN_SECONDS = 60.0
"""How long a wait for something that was just made takes "there is no such thing" for "not shown everywhere yet"."""


def say(message: str) -> None:
    """Log one line of progress."""
    LOGGER.info(message)


@dataclass(frozen=True)
class Waiting:
    """Where a wait prints its lines, and which clock it uses; tests replace both."""

    say: Say = say
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


REAL_TIME = Waiting()


class Patience:
    """The pauses of one wait, during which its state is logged at least every `SILENCE_SECONDS`."""

    def __init__(self, what: str, target: Target, waiting: Waiting = REAL_TIME) -> None:
        self._what, self._target, self._waiting = what, target, waiting
        self._begun = self._said = waiting.clock()

    @property
    def spent_seconds(self) -> float:
        """How long the wait has lasted."""
        return self._waiting.clock() - self._begun

    def heard(self) -> None:
        """Note that something else has just been logged."""
        self._said = self._waiting.clock()

    def pause(self, state: str, own_seconds: float, *, most_seconds: float = math.inf) -> float:
        """Sleep until the next look, and return for how long: `own_seconds` or the target's, at most `most_seconds`."""
        seconds = left = min(self._target.pause_seconds(own_seconds), most_seconds)
        while left > 0:
            silent = self._waiting.clock() - self._said
            if silent >= SILENCE_SECONDS:
                self._waiting.say(f"{self._what}: {state}, {self.spent_seconds:.0f} s")
                self.heard()
                silent = 0.0
            part = min(left, SILENCE_SECONDS - silent)
            self._waiting.sleep(part)
            left -= part
        return seconds


def wait_for(
    target: Target,
    what: str,
    probe: Callable[[], tuple[Found | None, str]],
    *,
    deadline_seconds: float,
    poll_seconds: float = 1.0,
    next_command: str = "run the same command again, which waits again",
    is_new: bool = False,
    waiting: Waiting = REAL_TIME,
) -> Found:
    """Call `probe` until it returns a result, and log the state at least every `SILENCE_SECONDS`.

    `probe` returns (the result or None, the state in words) and raises when the result can no longer come. While AWS
    throttles its calls, or its answer to a reading call cannot be used, the result is not there yet; of something
    `is_new`, also when AWS does not know it, for `NOT_SHOWN_SECONDS`. `poll_seconds` is the pause between two looks at
    an AWS whose `target` sets none.

    Raises:
        WaitTimedOut: `deadline_seconds` passed.
    """
    patience = Patience(what, target, waiting)
    while True:
        found, state = look(probe, is_new=is_new and patience.spent_seconds < NOT_SHOWN_SECONDS)
        if found is not None:
            return found
        spent = patience.spent_seconds
        if spent >= deadline_seconds:
            why = f"it was still {state} after {deadline_seconds:.0f} s"
            raise WaitTimedOut(what, f"waited {spent:.0f} s", why, next_command)
        patience.pause(state, poll_seconds, most_seconds=deadline_seconds - spent)


def look(probe: Callable[[], tuple[Found | None, str]], *, is_new: bool = False) -> tuple[Found | None, str]:
    """Return what a wait's `probe` returns; (None, the reason) when AWS throttled it or answered nothing readable.

    So it is when AWS does not know what `is_new`.

    Raises:
        MalformedAnswer, MalformedAnswerError: the answer was to a changing call, which may have been carried out.
    """
    try:
        return probe()
    except (MalformedAnswer, MalformedAnswerError) as error:
        return None, unknown_state(error)
    except NotFound:
        if not is_new:
            raise
        return None, NOT_SHOWN
    except (ClientError, LimitReached) as error:
        if is_new and isinstance(error, ClientError) and is_not_found(error):
            return None, NOT_SHOWN
        code = error.code if isinstance(error, LimitReached) else error_code(error)
        if code not in THROTTLED:
            raise
        return None, f"unknown (AWS throttles: {code})"


def unknown_state(error: MalformedAnswer | MalformedAnswerError) -> str:
    """Return the state of a thing while AWS's answer about it cannot be used.

    Raises:
        MalformedAnswer, MalformedAnswerError: the answer was to a changing call, which may have been carried out.
    """
    if not error.is_reading:
        raise error
    return f"unknown ({error.what if isinstance(error, MalformedAnswer) else error})"


def retry_until_role_propagates(
    target: Target,
    what: str,
    call: Callable[[], Found],
    *,
    deadline_seconds: float = ROLE_PROPAGATION_SECONDS,
    waiting: Waiting = REAL_TIME,
) -> Found:
    """Repeat a call that names a new role until IAM has propagated the role and its policy to the called service.

    Raises:
        WaitTimedOut: the call was still refused for this reason after `deadline_seconds`.
        ClientError: the call failed for another reason.
    """

    def attempt() -> tuple[tuple[Found] | None, str]:
        try:
            return (call(),), "done"
        except ClientError as error:
            if not _may_be_unpropagated(error):
                raise
            return None, f"waiting until IAM has propagated the new role ({_message(error)})"

    return wait_for(target, what, attempt, deadline_seconds=deadline_seconds, poll_seconds=2.0, waiting=waiting)[0]


def retry_until_known(target: Target, what: str, call: Callable[[], Found], *, waiting: Waiting = REAL_TIME) -> Found:
    """Repeat a call that names something just created, until all of the service's servers know that.

    Raises:
        WaitTimedOut: it was still not known after 90 s.
        ClientError: the call failed for another reason.
    """

    def attempt() -> tuple[tuple[Found] | None, str]:
        try:
            return (call(),), "done"
        except ClientError as error:
            if not is_not_found(error):
                raise
            return None, f"not known yet ({_message(error)})"

    found = wait_for(target, what, attempt, deadline_seconds=ROLE_PROPAGATION_SECONDS, waiting=waiting)
    return found[0]


_SIGNS_OF_UNPROPAGATED_ROLE = (
    "assume",
    "s3:listbucket",
    "s3:getobject",
    "ecr:batchgetimage",
    "kms key is invalid for creategrant",
    "invalid iam instance profile",
    "has no associated iam roles",
)
"""Parts of the messages with which services refuse a new role: it cannot be assumed; a read failed that SageMaker tries
with its policy before it accepts a job or a model; Lambda's KMS key and an EC2 instance profile are not valid yet, or
the profile is known and its role is not."""


def _may_be_unpropagated(error: ClientError) -> bool:
    """Tell whether the new role may be the cause: SageMaker, Lambda and EC2 each have a code and messages for it.

    Application Auto Scaling has a code of its own for a role that may not read alarms (botocore's description of it),
    besides "Unable to assume IAM role" of the role that it makes with an account's first scalable target.
    """
    codes = {"ValidationException", "InvalidParameterValueException", "InvalidParameterValue"}
    is_told = any(sign in _message(error).lower() for sign in _SIGNS_OF_UNPROPAGATED_ROLE)
    return error_code(error) == "FailedResourceAccessException" or (error_code(error) in codes and is_told)


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))
