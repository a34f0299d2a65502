"""Measures the stages of a flow, and reports when each begins and ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from tasks.run.progress import Stage, log_stage

Result = TypeVar("Result")


class StageClock:
    """Measures the wall time of the stages of one command, and reports when each begins and ends."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    async def time(self, stage: str, work: Awaitable[Result]) -> Result:
        """Await the work of a stage and return its result; the time is recorded also when the work fails."""
        log_stage(Stage(stage, "begins"))
        begun = time.perf_counter()
        try:
            result = await work
        except BaseException:
            log_stage(Stage(stage, "failed", time.perf_counter() - begun))
            raise
        finally:
            self.seconds[stage] = round(time.perf_counter() - begun, 2)
        log_stage(Stage(stage, "done", self.seconds[stage]))
        return result
