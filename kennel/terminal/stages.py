"""Tracks the stages of a command: which one runs, how long each took, and how long each is estimated to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.run.progress import Stage
from tasks.run.sealed import read_regular, unseal

SERVERS = "servers"
"""The name of the stage before those of the flow: start localaws and Prefect's server, import the flows."""

TITLES = {
    SERVERS: "start the servers",
    "stage_data": "stage the data",
    "train_sagemaker": "train on SageMaker",
    "train_ec2": "train on EC2 over SSH",
    "deploy": "deploy",
    "loadtest": "load-test",
    "gate": "judge the challenger",
    "promote": "promote the challenger",
}
USUAL_SECONDS = {
    SERVERS: 6.0,
    "stage_data": 2.0,
    "train_sagemaker": 35.0,
    "train_ec2": 22.0,
    "deploy": 2.0,
    "loadtest": 90.0,
}
"""The times of the sample on two cores, from the README's table: the estimates when there is no earlier run."""

STEADY_OVERHEAD_SECONDS = 10.0
"""The time of a load test at one rate beyond its own seconds: photos, Locust's start, warm-up, late answers."""

ADOPTED_SECONDS = 1.0
"""A stage that took less time adopted an earlier result, so its time is no estimate for one that does the work."""

LONGEST_SECONDS = 30 * 24 * 3600.0
"""A record that says more, or infinity, is no estimate: SageMaker ends a job after 28 days."""

Status = Literal["waiting", "running", "done", "failed"]


@dataclass
class StageProgress:
    """One stage of a command: its estimate in seconds, its status and its time."""

    name: str
    estimate_seconds: float
    status: Status = "waiting"
    begun: float = 0.0
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """The stage's title on the screen."""
        return TITLES.get(self.name, self.name)


def run_stages(*, ec2: bool, load_test: bool) -> tuple[str, ...]:
    """Return the stages of `kennel run`."""
    more = ("train_ec2",) if ec2 else ()
    return (SERVERS, "stage_data", "train_sagemaker", *more, "deploy", *(("loadtest",) if load_test else ()))


def load_seconds(mode: str, seconds: float) -> dict[str, float]:
    """Return the estimate of a load test that follows from its arguments; there is none for a checked one."""
    return {} if mode == "checked" else {"loadtest": seconds + STEADY_OVERHEAD_SECONDS}


class CommandStages:
    """The stages of a command in order; a stage that was not planned is appended when it begins."""

    def __init__(
        self, names: Sequence[str], estimates: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.all = [StageProgress(name, estimates.get(name, USUAL_SECONDS.get(name, 0.0))) for name in names]
        self._known = frozenset(estimates)
        self._clock = clock

    def expect(self, estimates: Mapping[str, float]) -> None:
        """Set the estimates, in seconds by name, of stages that have not ended and have none from the arguments."""
        for progress in self.all:
            if (
                progress.status in {"waiting", "running"}
                and progress.name in estimates
                and progress.name not in self._known
            ):
                progress.estimate_seconds = estimates[progress.name]

    def apply(self, stage: Stage) -> StageProgress:
        """Record that a stage began or ended, and return its progress."""
        progress = next((progress for progress in self.all if progress.name == stage.name), None)
        if progress is None:
            progress = StageProgress(stage.name, USUAL_SECONDS.get(stage.name, 0.0))
            self.all.append(progress)
        if stage.state == "begins":
            progress.status, progress.begun = "running", self._clock()
        else:
            progress.status, progress.seconds = stage.state, stage.seconds
        return progress

    def seconds(self, progress: StageProgress) -> float:
        """Return the seconds that a stage has taken so far."""
        return self._clock() - progress.begun if progress.status == "running" else progress.seconds

    def number(self, progress: StageProgress) -> str:
        """Return the stage's number among all, such as "2 of 6"."""
        return f"{self.all.index(progress) + 1} of {len(self.all)}"

    @property
    def has_not_begun(self) -> bool:
        """Whether there are stages, and none has begun."""
        return bool(self.all) and all(progress.status == "waiting" for progress in self.all)

    @property
    def running(self) -> StageProgress | None:
        """The stage that runs, the last begun if there are several, or None."""
        return next((progress for progress in reversed(self.all) if progress.status == "running"), None)


def earlier_seconds(runs: Path) -> dict[str, float]:
    """Return for each stage the seconds of the latest run in this folder in which it did not just adopt a result.

    Records that cannot be read are skipped, because a missing estimate does no harm.
    """
    found: dict[str, float] = {}
    for path in sorted(runs.glob("*/pipeline.json"), key=lambda path: path.stat().st_mtime):
        try:
            seconds = unseal(read_regular(path))["seconds"]
            took = {name: float(each) for name, each in seconds.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue
        found |= {name: each for name, each in took.items() if ADOPTED_SECONDS <= each <= LONGEST_SECONDS}
    return found
