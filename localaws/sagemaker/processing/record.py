"""The record of a processing job: its state and times, as DescribeProcessingJob shows them.

Only the runner changes a record, and only to what has happened. Thread-safe. Holds no process and no file.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from localaws.sagemaker.processing.requests import ProcessingRequest

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
MOST_CHARACTERS = 1024  # of FailureReason and of ExitMessage


class ProcessingJobRecord:
    """One job. The attributes with moto's names are what moto's Search and tagging look at."""

    def __init__(self, request: ProcessingRequest, arn: str, *, clock: Callable[[], float] = time.time) -> None:
        self.request = request
        self.arn = arn
        self.tags: list[dict[str, str]] = [dict(tag) for tag in request.tags]
        self._clock = clock
        self._lock = threading.RLock()
        self._created = self._modified = clock()
        self._status = "InProgress"
        self._started: float | None = None
        self._ended: float | None = None
        self._failure: str | None = None
        self._message: str | None = None

    @property
    def processing_job_name(self) -> str:
        return self.request.name

    @property
    def processing_job_status(self) -> str:
        with self._lock:
            return self._status

    @property
    def creation_time(self) -> datetime:
        return _stamp(self._created)

    @property
    def last_modified_time(self) -> datetime:
        with self._lock:
            return _stamp(self._modified)

    @property
    def is_terminal(self) -> bool:
        return self.processing_job_status in TERMINAL

    def begin(self) -> None:
        """Show that the containers run."""
        with self._lock:
            self._started = self._modified = self._clock()

    def ask_to_stop(self) -> bool:
        """Show that a stop was asked for; False when the job has ended, so that there is nothing to stop."""
        with self._lock:
            if self._status == "InProgress":
                self._status = "Stopping"
                self._modified = self._clock()
            return self._status not in TERMINAL

    def keep_message(self, message: str) -> None:
        """Show this as ExitMessage, cut to 1,024 characters."""
        with self._lock:
            self._message = message[:MOST_CHARACTERS] or None

    def finish(self, status: str, *, failure: str | None = None) -> None:
        """Enter the terminal `status`; `failure` becomes FailureReason, cut to 1,024 characters."""
        with self._lock:
            self._failure = failure[:MOST_CHARACTERS] if failure else None
            self._status = status
            self._ended = self._modified = self._clock()

    def summary(self) -> dict[str, Any]:
        """Return the job's row in ListProcessingJobs."""
        with self._lock:
            shown = {
                "ProcessingJobName": self.request.name,
                "ProcessingJobArn": self.arn,
                "CreationTime": self.creation_time,
                "LastModifiedTime": self.last_modified_time,
                "ProcessingEndTime": _stamp(self._ended) if self._ended else None,
                "ProcessingJobStatus": self._status,
                "FailureReason": self._failure,
                "ExitMessage": self._message,
            }
            return {name: value for name, value in shown.items() if value is not None}

    def describe(self) -> dict[str, Any]:
        """Return DescribeProcessingJob's reply."""
        with self._lock:
            started = {"ProcessingStartTime": _stamp(self._started)} if self._started else {}
            return {**self.request.echo, **self.summary(), **started}

    gen_response_object = describe  # moto's Search asks for it by this name


def _stamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
