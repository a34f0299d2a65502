"""Tell one AWS from another, though its address may change and a new one may have the address of an old one.

The embedded AWS is named by its home and by its generation, which is another one whenever it was started. It keeps what
it has in memory, so all that a former generation had is lost. Real AWS, and another server on loopback, are named by
their endpoint.
"""

from __future__ import annotations

import urllib.error
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException

from tasks.run.errors import Unreachable
from tasks.run.machine import fetch_from_loopback
from tasks.run.sealed import parse_json
from tasks.run.settings import LOCAL_HEALTH_PATH, is_loopback
from tasks.run.source_name import source_name

ANSWER_SECONDS = 5.0
ASKED_TIMES = 3
"""How often a server is asked who it is: one spoilt answer decides nothing."""

AGAIN = "run the same command again"


@dataclass(frozen=True)
class LogicalAws:
    """An AWS: `endpoint` is "aws" or a URL; `home` and `generation` name an embedded AWS and are "" for another."""

    endpoint: str
    home: str = ""
    generation: str = ""

    @property
    def text(self) -> str:
        """The AWS in a message."""
        return f"localaws of {self.home}" if self.home else source_name(self.endpoint)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return bool(self.home) or is_loopback(self.endpoint)

    def is_same(self, other: LogicalAws) -> bool:
        """Tell whether both have the same resources."""
        if self.home or other.home:
            return (self.home, self.generation) == (other.home, other.generation)
        return self.endpoint == other.endpoint


def identify(endpoint: str) -> LogicalAws:
    """Return the AWS at an endpoint ("aws" or a URL); a server on loopback is asked.

    Raises:
        Unreachable: nothing answers at the URL, or with something that does not say who it is.
    """
    if not is_loopback(endpoint):
        return LogicalAws(endpoint)
    try:
        return _ask(endpoint)
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable("AWS", f"{endpoint} does not answer who it is", str(error), AGAIN) from error


def is_lost(found: LogicalAws, present: LogicalAws | None = None) -> bool:
    """Tell whether the resources of an AWS do not exist any more, because it was on this machine and has ended.

    `present` is an AWS that runs. An AWS of the same home has ended if it is of another generation; one of another
    home, or of an unknown one (release 0.1.0 did not record it), is asked at its address. It has ended if nothing
    listens there or an embedded AWS names another generation. While it is not certain, the answer is no.
    """
    if not found.is_local:
        return False
    if present is not None and found.home and found.home == present.home:
        return found.generation != present.generation
    try:
        there = _ask(found.endpoint)
    except ConnectionRefusedError:
        return True
    except (OSError, HTTPException, ValueError):
        return False
    return bool(there.generation) and not found.is_same(there)


def _ask(endpoint: str) -> LogicalAws:
    """Ask a server on loopback who it is, again while its answer is not an embedded AWS's of this release.

    One that answers so each time that it has no such path (400 to 499), or JSON without a generation, is another AWS.

    Raises:
        OSError, HTTPException, ValueError: it does not answer, or with something else.
    """
    for _ in range(ASKED_TIMES - 1):
        with suppress(OSError, HTTPException, ValueError):
            answer = _ask_once(endpoint)
            if answer.generation:
                return answer
    return _ask_once(endpoint)


def _ask_once(endpoint: str) -> LogicalAws:
    try:
        told = parse_json(fetch_from_loopback(f"{endpoint.rstrip('/')}{LOCAL_HEALTH_PATH}", ANSWER_SECONDS))
    except urllib.error.HTTPError as error:
        if 400 <= error.code < 500:
            return LogicalAws(endpoint)
        raise
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from error
    if not isinstance(told, dict):
        raise ValueError(f"{LOCAL_HEALTH_PATH} answered {told!r:.80}")
    home, generation = told.get("home"), told.get("generation")
    if generation is None:
        return LogicalAws(endpoint)
    if not (isinstance(home, str) and isinstance(generation, str) and home and generation):
        raise ValueError(f"{LOCAL_HEALTH_PATH} answered home {home!r:.80}, generation {generation!r:.80}")
    return LogicalAws(endpoint, home, generation)
