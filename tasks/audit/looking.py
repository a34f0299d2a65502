"""Call AWS to look only: page by page, until a deadline; what is refused or not emulated becomes a note."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, Unreachable, WaitTimedOut, aws_boundary
from tasks.run.waiting import REAL_TIME, Waiting, wait_for

REPORT_SECONDS = 120.0
Found = TypeVar("Found")


class Look:
    """The calls of one audit with what they could not see: `notes` in words, `unseen` the services concerned."""

    def __init__(self, aws: Aws, deadline_seconds: float, waiting: Waiting = REAL_TIME) -> None:
        self.aws = self._home = aws
        self.notes: list[str] = []
        self.unseen: set[str] = set()
        self._waiting = waiting
        self._deadline = waiting.clock() + deadline_seconds

    def in_region(self, region: str, seconds: float) -> Look:
        """Return what looks at a region, with notes of its own, for so many seconds at most."""
        left = self._deadline - self._waiting.clock()
        look = Look(self.aws.in_region(region), min(left, seconds), self._waiting)
        look._home = self.aws
        return look

    def read(self, what: str, find: Callable[[], Iterable[Found]], service: str = "") -> tuple[Found, ...]:
        """Return what could be read of a part of the account; if not all could, that is noted.

        `service` is the one whose users of roles are then not all known.

        Raises:
            AwsFailed: AWS does not answer any more.
        """
        found: list[Found] = []
        what += "" if self.aws is self._home else f" in {self.aws.region}"
        try:
            with aws_boundary(f"audit: {what}"):
                found.extend(find())
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            self.notes.append(f"not looked at: {what} (AWS's answer is not as it should be: {error!r:.100})")
            self.unseen |= {service} - {""}
        except (AwsFailed, WaitTimedOut) as error:
            if isinstance(error, Unreachable):
                self._require_aws()
            why = "its service does not answer" if isinstance(error, Unreachable) else f"{error.what}: {error.why}"
            self.notes.append(f"not looked at: {what} ({why})")
            self.unseen |= {service} - {""}
        return tuple(found)

    def _require_aws(self) -> None:
        """Return if AWS answers at all, so that only one service has no address here or does not answer."""
        with aws_boundary("audit"):
            self._home.client("sts").get_caller_identity()

    def all(self, service: str, operation: str, member: str, **parameters: Any) -> Iterator[Any]:
        """Yield the members of all pages of a listing.

        Raises:
            WaitTimedOut: the audit's deadline has passed.
        """
        for page in self.pages(service, operation, **parameters):
            yield from page[member]

    def pages(self, service: str, operation: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing; the audit's deadline holds as in `all`."""
        self.in_time(operation)
        for page in self.aws.client(service).get_paginator(operation).paginate(**parameters):
            yield page
            self.in_time(operation)

    def one(self, service: str, operation: str, **parameters: Any) -> Any:
        """Return the answer of a call, or None where AWS says that there is no such thing (any more)."""
        self.in_time(operation)
        return none_if_missing(lambda: getattr(self.aws.client(service), operation)(**parameters))

    def until(self, what: str, probe: Callable[[], tuple[Any, str]]) -> Any:
        """Return what a probe returns once a report of AWS's is ready."""
        return wait_for(self.aws.target, what, probe, deadline_seconds=REPORT_SECONDS, waiting=self._waiting)

    def in_time(self, operation: str) -> None:
        """Return if there is time for another operation.

        Raises:
            WaitTimedOut: the audit's deadline has passed.
        """
        if self._waiting.clock() > self._deadline:
            why = "the audit's deadline has passed"
            raise WaitTimedOut(f"audit: {operation}", "not called", why, "kennel audit, which looks again")
