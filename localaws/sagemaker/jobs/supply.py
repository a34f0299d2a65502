"""Whether there are instances for a job, and when those of a spot job are taken back.

There always are, and they never are, unless the server is strict about it.
"""

import math
import time

from localaws.core import Core
from localaws.sagemaker.jobs.requests import JobRequest

PATIENCE_SECONDS = 600.0  # for which a job on demand looks for instances, in emulated seconds
RETRYING = "Insufficient capacity error from EC2 while launching instances, retrying!"
GIVEN_UP = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)


class Supply:
    """The instances of one job."""

    def __init__(self, core: Core, request: JobRequest) -> None:
        self._strictness, self._scale = core.strictness, core.clock.scale
        self._request = request
        self._taken_back_at: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there are no instances for the job, now and later."""
        return self._strictness.lacks_capacity(self._request.instance_type, is_spot=self._request.is_spot)

    def give_up_at(self) -> float:
        """Return when a job that begins to look now gives up, by the monotonic clock; a spot job never does."""
        return math.inf if self._request.is_spot else time.monotonic() + PATIENCE_SECONDS / self._scale

    def run_begins(self) -> None:
        """Take note that the hosts run; the first time, it is drawn when a spot job's are taken back."""
        span = self._strictness.spot_interruptions
        if self._taken_back_at is None and self._request.is_spot and span:
            after = span.drawn(self._strictness.seed, "interruption", self._request.name)
            self._taken_back_at = time.monotonic() + after / self._scale

    def takes_back(self) -> bool:
        """Return, once, that the instances are taken back now."""
        is_due = self._taken_back_at is not None and time.monotonic() >= self._taken_back_at
        if is_due:
            self._taken_back_at = math.inf
        return is_due
