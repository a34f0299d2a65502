"""Tell one AWS from another, though its address may change and a new one may have the address of an old one.

The embedded AWS is named by its home and by its generation, which is another one whenever it was started. It keeps what
it has in memory, so all that a former generation had is lost. Real AWS, and another server on loopback, are named by
their endpoint.
"""

from __future__ import annotations

import urllib.error
from dataclasses import dataclass
from http.client import HTTPException

from tasks.run.errors import Unreachable
from tasks.run.machine import open_without_proxy
from tasks.run.sealed import parse_json
from tasks.run.settings import LOCAL_HEALTH_PATH, is_loopback

ANSWER_SECONDS = 5.0
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
        return f"localaws of {self.home}" if self.home else self.endpoint

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
        Unreachable: nothing answers at the URL.
    """
    if not is_loopback(endpoint):
        return LogicalAws(endpoint)
    try:
        return _ask(endpoint)
    except (OSError, HTTPException) as error:
        raise Unreachable("AWS", f"{endpoint} does not answer", str(error), AGAIN) from error


def is_lost(found: LogicalAws, present: LogicalAws | None = None) -> bool:
    """Tell whether the resources of an AWS do not exist any more, because it was on this machine and has ended.

    `present` is an AWS that runs. An AWS of the same home has ended if it is of another generation; one of another
    home, or of an unknown one (release 0.1.0 did not record it), is asked at its address. While it is not certain, the
    answer is no.
    """
    if not found.is_local:
        return False
    if present is not None and found.home and found.home == present.home:
        return found.generation != present.generation
    try:
        return not found.is_same(_ask(found.endpoint))
    except ConnectionRefusedError:
        return True
    except (OSError, HTTPException):
        return False


def _ask(endpoint: str) -> LogicalAws:
    """Ask a server on loopback who it is; one without a generation is not an embedded AWS of this release.

    Raises:
        OSError, HTTPException: it does not answer.
    """
    try:
        with open_without_proxy(f"{endpoint.rstrip('/')}{LOCAL_HEALTH_PATH}", ANSWER_SECONDS) as answer:
            told = parse_json(answer.read())
        return LogicalAws(endpoint, str(told["home"]), str(told["generation"]))
    except urllib.error.HTTPError:
        return LogicalAws(endpoint)
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from error
    except OSError:
        raise
    except (HTTPException, ValueError, KeyError, TypeError):
        return LogicalAws(endpoint)
