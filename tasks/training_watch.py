"""Follow a training job to its end: every log line of every host, a sign of life otherwise, and the true outcome.

Only `Completed` is success. `Stopped` is not, whatever the waiter of the SDK says: so ends a job that ran out of time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tasks.aws import Aws
from tasks.errors import NotFound, StageFailed, WaitTimedOut
from tasks.log_stream import LogFollower
from tasks.roles import TRAINING_LOG_GROUP
from tasks.training_job import describe_job
from tasks.waiting import SILENCE_SECONDS, Say, say

POLL_SECONDS = 1.0
LATE_LOG_SECONDS = 1.0


def follow_job(
    aws: Aws,
    name: str,
    *,
    deadline_seconds: float,
    say: Say = say,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, Any]:
    """Wait until the job is over and return its description, saying every host's log lines meanwhile.

    Raises:
        StageFailed: it failed or was stopped; with FailureReason and the last 20 lines of each host.
        WaitTimedOut: it was not over after `deadline_seconds`; it still runs.
        NotFound: the job is gone.
    """
    follower = LogFollower(aws, TRAINING_LOG_GROUP, f"{name}/")
    begun = said = clock()
    while True:
        description = describe_job(aws, name)
        if description is None:
            raise NotFound(f"training job {name}", "it is gone", "somebody deleted it", "run the same command again")
        if _say_lines(follower, say):
            said = clock()
        if description["TrainingJobStatus"] in {"Completed", "Failed", "Stopped"}:
            return _outcome(name, description, follower, say, sleep)
        now = clock()
        if now - begun >= deadline_seconds:
            why = f"it is still {_state(description)}; it goes on, and the same command takes it up again"
            stop = f"aws sagemaker stop-training-job --training-job-name {name}"
            raise WaitTimedOut(f"training job {name}", f"waited {now - begun:.0f} s", why, stop)
        if now - said >= SILENCE_SECONDS:
            say(f"training job: {_state(description)}, {now - begun:.0f} s")
            said = now
        sleep(POLL_SECONDS)


def _outcome(
    name: str, description: Mapping[str, Any], follower: LogFollower, say: Say, sleep: Callable[[float], None]
) -> Mapping[str, Any]:
    status = description["TrainingJobStatus"]
    if status == "Completed":
        _say_lines(follower, say)
        return description
    sleep(LATE_LOG_SECONDS)  # the lines that explain a failure are often the last to arrive
    _say_lines(follower, say)
    secondary = description.get("SecondaryStatus", status)
    why = str(description.get("FailureReason") or _stopped_because(secondary))
    tail = follower.tail() or "    (no log lines arrived)"
    raise StageFailed(
        f"training job {name}",
        f"it ended {_state(description)}",
        f"{why}\n{tail}",
        "kennel logs; then run the same command again, which makes a new attempt",
    )


def _stopped_because(secondary: str) -> str:
    reasons = {
        "MaxRuntimeExceeded": "it did not finish within its MaxRuntimeInSeconds; its model is not complete",
        "MaxWaitTimeExceeded": "spot capacity did not last long enough within MaxWaitTimeInSeconds",
    }
    return reasons.get(secondary, "somebody stopped it; its model is not complete")


def _state(description: Mapping[str, Any]) -> str:
    status, secondary = description["TrainingJobStatus"], description.get("SecondaryStatus")
    return status if secondary in {None, status} else f"{status}/{secondary}"


def _say_lines(follower: LogFollower, say: Say) -> bool:
    lines = follower.poll()
    for line in lines:
        say(str(line))
    return bool(lines)
