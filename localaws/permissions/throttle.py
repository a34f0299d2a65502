"""Throttles calls above AWS's rates, where they are published, or observed, and a client that polls could reach them.

A bucket of tokens for each operation, or for several together, that fills in emulated time. Not throttled: all other
operations, and InvokeEndpoint and Lambda's Invoke, which have limits of their own.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase

from localaws.clock import Clock
from localaws.errors import AwsError


@dataclass(frozen=True)
class Rate:
    """How many calls may come at once, and how many in each second after that.

    `actions`: of IAM, with `*`; `is_shared`: they have one bucket together, else each its own.
    """

    actions: str
    burst: float
    per_second: float
    is_shared: bool = False


RATES = (  # the first that fits; sources in docs/fidelity.md, section "Strict"
    Rate("sagemaker:Describe*", 10, 1),
    Rate("sagemaker:List*", 10, 1),
    Rate("ec2:Describe*", 100, 20),
    Rate("logs:FilterLogEvents", 5, 5),
    Rate("logs:DescribeLogStreams", 25, 25),
    Rate("lambda:GetFunction", 100, 100),
    Rate("lambda:GetPolicy", 15, 15),
    Rate("lambda:*", 15, 15, is_shared=True),
)
UNLIMITED = "lambda:Invoke*"
REFUSALS = {  # by signing name: code, message and status of AWS; the others have OTHERS
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "lambda": ("TooManyRequestsException", "Rate exceeded", 429),
}
OTHERS = ("ThrottlingException", "Rate exceeded", 400)


class Throttle:
    """The buckets of one account. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # tokens, and when there were so many

    def take(self, action: str, service: str) -> None:
        """Take a token for a call.

        Raises:
            AwsError: there is none left; code and message are the service's (a signing name).
        """
        rate = rate_of(action)
        if rate is None:
            return
        name, now = rate.actions if rate.is_shared else action, self._clock.now()
        with self._lock:
            tokens, since = self._left.get(name, (rate.burst, now))
            tokens = min(rate.burst, tokens + (now - since) * rate.per_second)
            is_enough = tokens >= 1
            self._left[name] = (tokens - 1 if is_enough else tokens, now)
        if not is_enough:
            code, message, status = REFUSALS.get(service, OTHERS)
            raise AwsError(code, message, status=status)


@functools.cache
def rate_of(action: str) -> Rate | None:
    """Return the rate that an action of IAM is held to, None if to none."""
    if fnmatchcase(action, UNLIMITED):
        return None
    return next((each for each in RATES if fnmatchcase(action, each.actions)), None)
