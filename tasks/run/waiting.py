"""How tasks say what they do: log lines on one logger, and waits that have a deadline and are never silent.

The command shows the logger's lines on stderr; a worker's flow run sends them to Prefect
(`PREFECT_LOGGING_EXTRA_LOGGERS=kennel`).
Clock and sleep are parameters, so that a test of a wait takes no time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from tasks.run.errors import WaitTimedOut, error_code

Found = TypeVar("Found")
Say = Callable[[str], None]

LOGGER = logging.getLogger("kennel")
LOGGER.setLevel(logging.DEBUG)  # Prefect gives an extra logger its handler and no level: INFO would be dropped
SILENCE_SECONDS = 8.0
ASSUMABLE_SECONDS = 90.0


def say(message: str) -> None:
    """Log one line of progress."""
    LOGGER.info(message)


def wait_for(
    what: str,
    probe: Callable[[], tuple[Found | None, str]],
    *,
    deadline_seconds: float,
    poll_seconds: float = 1.0,
    next_command: str = "kennel status",
    say: Say = say,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found:
    """Call `probe` until it returns something, saying its state now and then.

    `probe` returns (found or None, the state in words) and raises when the thing can no longer come.

    Raises:
        WaitTimedOut: `deadline_seconds` passed.
    """
    begun = said = clock()
    while True:
        found, state = probe()
        if found is not None:
            return found
        now = clock()
        if now - begun >= deadline_seconds:
            why = f"it was still {state} after {deadline_seconds:.0f} s"
            raise WaitTimedOut(what, f"waited {now - begun:.0f} s", why, next_command)
        if now - said >= SILENCE_SECONDS:
            say(f"{what}: {state}, {now - begun:.0f} s")
            said = now
        sleep(poll_seconds)


def retry_until_role_propagates(
    what: str,
    call: Callable[[], Found],
    *,
    deadline_seconds: float = ASSUMABLE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found:
    """Make a call that names a new role, again while AWS does not know the role or its policy everywhere yet.

    Raises:
        WaitTimedOut: it still could not after `deadline_seconds`.
        ClientError: the call failed for another reason.
    """

    def attempt() -> tuple[tuple[Found] | None, str]:
        try:
            return (call(),), "done"
        except ClientError as error:
            if not _may_be_too_early(error):
                raise
            return None, f"waiting for IAM to know the new role ({_message(error)})"

    return wait_for(what, attempt, deadline_seconds=deadline_seconds, poll_seconds=2.0, clock=clock, sleep=sleep)[0]


_TOO_EARLY = (
    "assume",
    "s3:listbucket",
    "s3:getobject",
    "ecr:batchgetimage",
    "kms key is invalid for creategrant",
    "invalid iam instance profile",
)
"""The role itself; what SageMaker tries with the role's new policy before it takes a job or a model; Lambda's key; the
profile that EC2 is to give an instance."""


def _may_be_too_early(error: ClientError) -> bool:
    """SageMaker says it with a ValidationException, Lambda and EC2 with an invalid parameter value."""
    codes = {"ValidationException", "InvalidParameterValueException", "InvalidParameterValue"}
    return error_code(error) in codes and any(sign in _message(error).lower() for sign in _TOO_EARLY)


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))
