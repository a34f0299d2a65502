"""The configuration that a version of a function runs with, and what an invocation consists of, as plain records."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LATEST = "$LATEST"


@dataclass(frozen=True)
class Deployment:
    """One immutable snapshot of a function's code and configuration.

    Every change of code or configuration makes a new one with a new `revision`; execution environments belong to a
    revision and are retired with it.
    """

    name: str
    version: str
    arn: str  # unqualified for $LATEST, with ":<version>" otherwise
    revision: str
    runtime: str
    handler: str
    role: str
    code_directory: Path
    environment: dict[str, str]
    timeout_seconds: int
    memory_mb: int
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to. `payload` is what the caller gets, byte for byte."""

    payload: bytes
    status: Literal["success", "error", "timeout"]
    fault: str | None = None  # the platform's error type, when it was not the handler that failed


@dataclass
class Invocation:
    """One delivery of one event to one environment."""

    request_id: str
    payload: bytes
    invoked_arn: str
    trace_id: str
    client_context: str | None = None
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class Execution:
    """An invocation that is over, as it was measured. Times in milliseconds, memory in MB of 2**20 bytes."""

    outcome: Outcome
    duration_ms: float
    init_ms: float | None  # None: the environment was warm
    peak_memory_mb: int
    output: list[str]  # what the function printed, one entry a log event
