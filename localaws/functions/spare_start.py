"""Runs a spare environment's init at idle priority and measures the processor time that it takes.

An init that gets no core for seconds is given a higher priority (`PATIENCE`), since the next one waits for it. Runs on
the event loop; what blocks is done on threads.
"""

from __future__ import annotations

import asyncio
import time

from localaws.functions.environment import Environment, InitFailedError
from localaws.functions.process_usage import cpu_seconds
from localaws.idle_priority import PATIENCE, idle, normal


def is_time_out(error: Exception) -> bool:
    """A spare that got no core in time says nothing of its function."""
    return isinstance(error, InitFailedError) and error.error_type == "Sandbox.Timedout"


async def _raise_priority_until_initialised(environment: Environment) -> None:
    """Wait for the init; raise the priority step by step of one that takes long, which the next one waits for.

    Raises: as `initialise_at_idle_priority`.
    """
    assert environment.pid is not None
    begun, initialising = time.monotonic(), asyncio.ensure_future(environment.initialise())
    try:
        for step in PATIENCE:
            left = begun + step.after_seconds - time.monotonic()
            if (await asyncio.wait([initialising], timeout=max(0.0, left)))[0]:
                break
            await asyncio.to_thread(step.give, environment.pid)
        await initialising
    finally:
        initialising.cancel()


async def initialise_at_idle_priority(environment: Environment) -> float:
    """Wait for the init at idle priority, at a higher one if it takes long; return its processor time in seconds.

    Raises: InitFailedError; PermissionError, an OSError, if it cannot be taken back to the normal priority.
    """
    assert environment.pid is not None
    await asyncio.to_thread(idle, environment.pid)
    await _raise_priority_until_initialised(environment)
    seconds = await asyncio.to_thread(cpu_seconds, environment.pid)
    await asyncio.to_thread(normal, environment.pid)  # now: it takes time, which nobody waits for yet
    if not environment.is_alive or seconds == 0.0:  # 0.0: of a process that has ended; no init takes nothing
        raise InitFailedError("Runtime.ExitError", seconds * 1000)
    return seconds
