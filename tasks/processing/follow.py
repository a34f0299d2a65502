"""Follows a staging job: prints the log lines of its hosts, and waits for its verdict and for its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tasks.account.logs import LogFollower
from tasks.account.role_policies import PROCESSING_LOG_GROUP
from tasks.processing import area as areas
from tasks.processing.area import Area
from tasks.processing.job import describe_staging
from tasks.run import errors
from tasks.run.aws import Aws
from tasks.run.errors import DataRefused, KennelError, NotFound, SourceRefused, StageFailed, WaitTimedOut
from tasks.run.statuses import PROCESSING_JOB
from tasks.run.waiting import NOT_SHOWN_SECONDS, REAL_TIME, Patience, Waiting, look

Found = TypeVar("Found")

POLL_SECONDS = 1.0
REFUSALS = (DataRefused, SourceRefused)
"""What a host refuses as this machine would have; every other error of a host is a failure of the job."""


class Follower:
    """Follows one job; `area` is where it works."""

    def __init__(
        self, aws: Aws, name: str, area: Area, *, deadline_seconds: float, waiting: Waiting = REAL_TIME
    ) -> None:
        self._aws, self._name, self._area = aws, name, area
        self._deadline_seconds, self._waiting = deadline_seconds, waiting
        self._log = LogFollower(aws, PROCESSING_LOG_GROUP, f"{name}/")
        self._patience = Patience("processing job", aws.target, waiting)

    def until_told(self, name: str) -> Any:
        """Wait until the first host has told something, and return it.

        Raises:
            DataRefused: a host refused the source.
            StageFailed: the job ended without it.
            WaitTimedOut: the deadline passed; the job still runs.
            NotFound: somebody deleted the job.
            AwsFailed: SageMaker, S3 or CloudWatch Logs refused.
        """

        def told() -> Any | None:
            return self._area.hear_if_told(name)

        found, description = self._follow(told)
        return found if found is not None else self._raise_ended(description)

    def until_completed(self) -> None:
        """Wait until the job has completed.

        Raises:
            DataRefused, StageFailed, WaitTimedOut, NotFound, AwsFailed: as `until_told`.
        """
        _, description = self._follow(lambda: None)
        if not PROCESSING_JOB.is_ready(description["ProcessingJobStatus"]):
            self._raise_ended(description)

    def _follow(self, wanted: Callable[[], Found | None]) -> tuple[Found | None, Mapping[str, Any]]:
        """Return what is wanted as soon as it is there, or None and the description of the job that has ended."""

        def probe() -> tuple[tuple[Found | None, Mapping[str, Any]] | None, str]:
            description = self._present()
            status = str(description["ProcessingJobStatus"])
            self._print()
            found = wanted()
            is_over = found is not None or PROCESSING_JOB.has_settled(status)
            return ((found, description) if is_over else None), status

        while True:
            ended, state = look(probe, is_new=self._patience.spent_seconds < NOT_SHOWN_SECONDS)
            if ended is not None:
                return ended
            spent = self._patience.spent_seconds
            if spent >= self._deadline_seconds:
                why = f"it is still {state}; the job continues, and the same command follows it again"
                stop = self._aws.cli("sagemaker stop-processing-job", processing_job_name=self._name)
                raise WaitTimedOut(self._what, f"waited {spent:.0f} s", why, f"{stop}, or the same command again")
            self._patience.pause(state, POLL_SECONDS, most_seconds=self._deadline_seconds - spent)

    @property
    def _what(self) -> str:
        return f"processing job {self._name}"

    def _present(self) -> Mapping[str, Any]:
        description = describe_staging(self._aws, self._name)
        if description is None:
            raise NotFound(self._what, "it is gone", "somebody deleted it", "run the same command again")
        return description

    def _print(self) -> None:
        for line in self._log.poll():
            self._waiting.say(str(line))
            self._patience.heard()

    def _raise_ended(self, description: Mapping[str, Any]) -> None:
        """Raise what a host refused, or that the job failed, with what it said and its last lines."""
        for host in self._area.told(areas.FAILED):
            refusal = _error_of(self._area.hear(f"{areas.FAILED}/{host}"))
            if isinstance(refusal, REFUSALS):
                raise refusal
        self._print()
        said = description.get("ExitMessage") or description.get("FailureReason") or "AWS gave no reason"
        why = f"{said}\n{self._log.tail() or '    (no log lines arrived)'}"
        again = "kennel logs --source staging; then run the same command again, which makes a new attempt"
        raise StageFailed(self._what, f"it ended {description['ProcessingJobStatus']}", why, again)


def _error_of(told: Mapping[str, Any]) -> KennelError | None:
    """Return the refusal that a host told; None if it told something else."""
    kind = getattr(errors, str(told.get("kind")), None)
    parts = [str(part) for part in told.get("parts", ())]
    return kind(*parts) if kind in REFUSALS and len(parts) == 4 else None
