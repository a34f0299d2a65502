"""Follows a training job to its end: prints the log lines of every host, and the job's status when no line comes.

Only `Completed` is success. The SDK's waiter accepts `Stopped` too, but a job that ran out of time ends as `Stopped`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.account.logs import LogFollower, LogLine
from tasks.account.role_policies import TRAINING_LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, StageFailed, WaitTimedOut
from tasks.run.statuses import TRAINING_JOB
from tasks.run.waiting import NOT_SHOWN_SECONDS, REAL_TIME, Patience, Say, Waiting, look
from tasks.sagemaker.job import describe_job

POLL_SECONDS = 1.0
SCRIPT_STARTS = "Executing command:"
"""The last line that the SDK's driver prints before it starts the training script."""
LATE_LOG_SECONDS = 1.0
"""How long the log of a failure is read at least: the lines that explain it are often the last to arrive."""


def follow_job(
    aws: Aws,
    name: str,
    *,
    deadline_seconds: float,
    waiting: Waiting = REAL_TIME,
) -> Mapping[str, Any]:
    """Wait until the job has ended, print the log lines of every host meanwhile, and return the job's description.

    Raises:
        StageFailed: the job failed or was stopped; the error has FailureReason and the last 20 lines of each host.
        WaitTimedOut: the job had not ended after `deadline_seconds`; it still runs.
        NotFound: somebody deleted the job.
        AwsFailed: SageMaker or CloudWatch Logs refused.
    """
    printer = _LogPrinter(LogFollower(aws, TRAINING_LOG_GROUP, f"{name}/"), waiting.say)
    patience = Patience("training job", aws.target, waiting)

    def probe() -> tuple[Mapping[str, Any] | None, str]:
        description = _present(aws, name)
        if printer.poll():
            patience.heard()
        has_ended = TRAINING_JOB.has_settled(description["TrainingJobStatus"])
        return (description if has_ended else None), _state(description)

    while True:
        ended, state = look(probe, is_new=patience.spent_seconds < NOT_SHOWN_SECONDS)
        if ended is not None:
            is_complete = TRAINING_JOB.is_ready(ended["TrainingJobStatus"])
            late_seconds = aws.target.log_delay_seconds
            _read_tail(printer, patience, late_seconds if is_complete else max(late_seconds, LATE_LOG_SECONDS))
            return _outcome(name, ended, printer)
        spent = patience.spent_seconds
        if spent >= deadline_seconds:
            why = f"it is still {state}; the job continues, and the same command follows it again"
            stop = aws.cli("sagemaker stop-training-job", training_job_name=name) + ", or the same command again"
            raise WaitTimedOut(f"training job {name}", f"waited {spent:.0f} s", why, stop)
        patience.pause(state, POLL_SECONDS, most_seconds=deadline_seconds - spent)


def _present(aws: Aws, name: str) -> Mapping[str, Any]:
    description = describe_job(aws, name)
    if description is None:
        raise NotFound(f"training job {name}", "it is gone", "somebody deleted it", "run the same command again")
    return description


def _read_tail(printer: _LogPrinter, patience: Patience, seconds: float) -> None:
    """Read the lines of a job that has ended, again and again for as long as its last ones may be late."""
    look(lambda: (printer.poll(), "read"))
    while seconds > 0:
        seconds -= patience.pause("ended; its last log lines may be late", LATE_LOG_SECONDS, most_seconds=seconds)
        if look(lambda: (printer.poll(), "read"))[0]:
            patience.heard()


def _outcome(name: str, description: Mapping[str, Any], printer: _LogPrinter) -> Mapping[str, Any]:
    status = description["TrainingJobStatus"]
    if TRAINING_JOB.is_ready(status):
        return description
    secondary = description.get("SecondaryStatus", status)
    why = str(description.get("FailureReason") or _stop_reason(secondary))
    tail = printer.tail() or "    (no log lines arrived)"
    raise StageFailed(
        f"training job {name}",
        f"it ended {_state(description)}",
        f"{why}\n{tail}",
        _next_command(secondary, why),
    )


def _next_command(secondary: str, why: str) -> str:
    if why.startswith("CapacityError"):
        return "run the same command again later, which makes a new attempt, or with --instance-type <another>"
    if secondary == "MaxWaitTimeExceeded":
        return "run the same command again, which goes on from the last checkpoint, or without --spot"
    return "kennel logs; then run the same command again, which makes a new attempt"


def _stop_reason(secondary: str) -> str:
    reasons = {
        "MaxRuntimeExceeded": "it did not finish within its MaxRuntimeInSeconds; its model is not complete",
        "MaxWaitTimeExceeded": "spot capacity did not last long enough within MaxWaitTimeInSeconds",
    }
    return reasons.get(secondary, "somebody stopped it; its model is not complete")


def _state(description: Mapping[str, Any]) -> str:
    status, secondary = description["TrainingJobStatus"], description.get("SecondaryStatus")
    return status if secondary in (None, status) else f"{status}/{secondary}"


class _LogPrinter:
    """Prints the log lines of each host from the start of the training script on.

    The SDK's driver prints some hundred lines of environment and pip before that. They are counted and not printed;
    CloudWatch Logs has them, and the error has the last of them when the job fails.
    """

    def __init__(self, follower: LogFollower, say: Say) -> None:
        self._follower, self._say = follower, say
        self._hidden: dict[str, int] = {}
        self._started: set[str] = set()

    def poll(self) -> bool:
        """Print the new lines; tell whether there were any."""
        return sum(self._print(line) for line in self._follower.poll()) > 0

    def tail(self) -> str:
        """Return the last lines of every host, printed or not."""
        return self._follower.tail()

    def _print(self, line: LogLine) -> bool:
        host = line.source
        if host not in self._started:
            if not line.message.startswith(SCRIPT_STARTS):
                self._hidden[host] = self._hidden.get(host, 0) + 1
                return False
            self._started.add(host)
            self._say(f"{host} | ({self._hidden.get(host, 0)} lines of set-up are in `kennel logs`)")
        self._say(str(line))
        return True
