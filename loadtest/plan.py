"""Read and check the plan of a load test, a file that `tasks/load/generator.py` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.arrivals import Stage, total_seconds
from loadtest.targets import LoadTarget

PLAN_VARIABLE = "KENNEL_LOADTEST_PLAN"
"""The environment variable that names the plan file."""


@dataclass(frozen=True)
class Plan:
    """The plan of one load test; `images` are paths or URLs, and `processes` generators share the rate."""

    target: LoadTarget
    images: tuple[str, ...]
    stages: tuple[Stage, ...]
    warm_up_seconds: float
    timeout_seconds: float
    drain_seconds: float
    max_connections: int
    processes: int
    seed: int
    result_path: Path
    is_local: bool

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: there is no stage, generator or connection, or a time is negative.
        """
        if not self.stages:
            raise ValueError("stages is empty: a load test needs at least one stage")
        for name in ("warm_up_seconds", "drain_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
        if min(self.processes, self.max_connections) < 1 or self.timeout_seconds <= 0:
            raise ValueError("processes and max_connections must be at least 1, and timeout_seconds must be above 0")

    @property
    def measured_seconds(self) -> float:
        """The measured time: the duration of all stages, without the warm-up."""
        return total_seconds(self.stages)

    @property
    def schedule(self) -> tuple[Stage, ...]:
        """All stages, preceded by the warm-up at the first stage's rate."""
        if self.warm_up_seconds == 0:
            return self.stages
        return (Stage(self.stages[0].rate_per_second, self.warm_up_seconds), *self.stages)

    @property
    def deadline_seconds(self) -> float:
        """The time after which a generator ends: the schedule, plus `drain_seconds` for late responses."""
        return total_seconds(self.schedule) + self.drain_seconds


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a field is missing, unknown or out of bounds, or (`ForeignTargetError`) the host is not allowed.
    """
    content: dict[str, Any] = json.loads(path.read_bytes())
    try:
        target = LoadTarget(**content.pop("target"))
        stages = tuple(Stage(**stage) for stage in content.pop("stages"))
        images, result_path = tuple(content.pop("images")), Path(content.pop("result_path"))
        return Plan(target=target, stages=stages, images=images, result_path=result_path, **content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
