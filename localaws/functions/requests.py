"""The parts of an invocation as data: the function that a name leads to, the event that is sent, and the result."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Protocol

from localaws.functions.concurrency import Resource
from localaws.functions.deployment import Deployment, Execution
from localaws.functions.naming import FunctionName


@dataclass(frozen=True)
class AsyncPolicy:
    """How asynchronous events are tried again."""

    maximum_retry_attempts: int = 2
    maximum_event_age_seconds: float = 21_600.0


@dataclass(frozen=True)
class Target:
    """What a function name leads to: candidate deployments with their weights (one, unless an alias routes)."""

    resource: Resource
    is_alias: bool
    invoked_arn: str
    choices: tuple[tuple[Deployment, float], ...]
    async_policy: AsyncPolicy

    @property
    def name(self) -> str:
        """The function's name."""
        return self.resource.name

    def choose(self, draw: float) -> Deployment:
        """Return the deployment for a draw in [0, 1)."""
        for deployment, weight in self.choices:
            draw -= weight
            if draw < 0:
                return deployment
        return self.choices[0][0]


class Resolver(Protocol):
    """The functions there are."""

    def resolve(self, name: FunctionName) -> Target:
        """Return what the name leads to.

        Raises: AwsError ResourceNotFoundException.
        """


@dataclass(frozen=True)
class Event:
    """What a caller sends."""

    request_id: str
    payload: bytes
    client_context: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class Result:
    """What a caller gets."""

    version: str
    execution: Execution
    log_lines: list[str]


def new_request_id() -> str:
    """Return a version 4 UUID. It is no secret: the quick generator will do."""
    bits = f"{random.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{'89ab'[random.getrandbits(2)]}{bits[17:20]}-{bits[20:]}"


def new_trace_id() -> str:
    """Return an X-Ray trace header of an unsampled trace."""
    root, parent = f"{random.getrandbits(96):024x}", f"{random.getrandbits(64):016x}"
    return f"Root=1-{int(time.time()):08x}-{root};Parent={parent};Sampled=0"
