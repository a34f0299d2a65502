"""Regular expressions that users wrote, or that users' text meets: each match has a deadline.

Python's own have none and hold the interpreter's lock meanwhile, so that one request could stop all of localaws:
`(a|aa)+$` on 50 times `a` and another character takes hours.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import regex

SECONDS = 1.0
"""For one text; an honest expression takes less than a millisecond. Other threads go on meanwhile."""


class BadPattern(ValueError):
    """It is no regular expression; the message says why."""


class TooSlow(Exception):
    """No answer within the deadline."""


class TimedRegex:
    """A regular expression in Python's syntax. Thread-safe.

    Raises:
        BadPattern: it is none.
    """

    def __init__(self, text: str, *, ignores_case: bool = False, is_java: bool = False) -> None:
        """`is_java`: `.` also stands for a line break, and `\\w`, `\\d` and `\\s` for ASCII alone."""
        flags = (regex.IGNORECASE if ignores_case else 0) | (regex.DOTALL | regex.ASCII if is_java else 0)
        try:
            self._pattern = regex.compile(text, flags)
        except (regex.error, OverflowError, RecursionError) as error:
            raise BadPattern(str(error)) from error
        self.groups = int(self._pattern.groups)

    def is_in(self, text: str) -> bool:
        """Return whether it matches some part of `text`.

        Raises:
            TooSlow: the deadline passed.
        """
        with _told():
            return self._pattern.search(text, timeout=SECONDS, concurrent=True) is not None

    def is_all_of(self, text: str) -> bool:
        """Return whether it matches `text` as a whole.

        Raises:
            TooSlow: the deadline passed.
        """
        with _told():
            return self._pattern.fullmatch(text, timeout=SECONDS, concurrent=True) is not None

    def first_groups(self, text: str) -> Iterator[str | None]:
        """Yield the first group of each match, from the left.

        Raises:
            TooSlow: the deadline passed.
        """
        with _told():
            for match in self._pattern.finditer(text, timeout=SECONDS, concurrent=True):
                yield match[1]


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TooSlow from error
