"""Follow a training job to its end: every log line of every host, a sign of life otherwise, and the true outcome.

Only `Completed` is success. `Stopped` is not, whatever the waiter of the SDK says: so ends a job that ran out of time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tasks.account.logs import LogFollower, LogLine
from tasks.account.roles import TRAINING_LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, StageFailed, WaitTimedOut
from tasks.run.waiting import SILENCE_SECONDS, Say, say
from tasks.sagemaker.job import describe_job

POLL_SECONDS = 1.0
SCRIPT_STARTS = "Executing command:"
"""What the SDK's driver prints last before the training script itself."""
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
    narrator = _Narrator(LogFollower(aws, TRAINING_LOG_GROUP, f"{name}/"), say)
    begun = said = clock()
    while True:
        description = describe_job(aws, name)
        if description is None:
            raise NotFound(f"training job {name}", "it is gone", "somebody deleted it", "run the same command again")
        if narrator.poll():
            said = clock()
        if description["TrainingJobStatus"] in {"Completed", "Failed", "Stopped"}:
            return _outcome(name, description, narrator, sleep)
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
    name: str, description: Mapping[str, Any], narrator: _Narrator, sleep: Callable[[float], None]
) -> Mapping[str, Any]:
    status = description["TrainingJobStatus"]
    if status == "Completed":
        narrator.poll()
        return description
    sleep(LATE_LOG_SECONDS)  # the lines that explain a failure are often the last to arrive
    narrator.poll()
    secondary = description.get("SecondaryStatus", status)
    why = str(description.get("FailureReason") or _stopped_because(secondary))
    tail = narrator.tail() or "    (no log lines arrived)"
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


class _Narrator:
    """Says the lines of each host from the script's start on.

    What the SDK's driver prints before (some hundred lines of environment and pip) is counted, not shown: it is in
    CloudWatch Logs, and in the error when the job fails.
    """

    def __init__(self, follower: LogFollower, say: Say) -> None:
        self._follower, self._say = follower, say
        self._hidden: dict[str, int] = {}
        self._started: set[str] = set()

    def poll(self) -> bool:
        """Say what is new; tell whether anything was said."""
        return sum(self._tell(line) for line in self._follower.poll()) > 0

    def tail(self) -> str:
        """Return the last lines of every host, shown or not."""
        return self._follower.tail()

    def _tell(self, line: LogLine) -> bool:
        host = line.source
        if host not in self._started:
            if not line.message.startswith(SCRIPT_STARTS):
                self._hidden[host] = self._hidden.get(host, 0) + 1
                return False
            self._started.add(host)
            self._say(f"{host} | ({self._hidden.get(host, 0)} lines of set-up are in `kennel logs`)")
        self._say(str(line))
        return True
