"""The stages that a command goes through: which of how many runs, how long each took, and how long it may take."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.run.progress import Stage

SERVERS = "servers"
"""The stage before the flow's own: localaws, Prefect's server, and what this process imports."""

TITLES = {
    SERVERS: "start the servers",
    "stage_data": "stage the data",
    "train_sagemaker": "train on SageMaker",
    "train_ec2": "train on EC2 over SSH",
    "deploy": "deploy",
    "loadtest": "load-test",
}
USUAL_SECONDS = {
    SERVERS: 6.0,
    "stage_data": 2.0,
    "train_sagemaker": 35.0,
    "train_ec2": 22.0,
    "deploy": 2.0,
    "loadtest": 90.0,
}
"""What the sample takes on two cores, by README's table; shown as an estimate where no earlier run says better."""

STEADY_OVERHEAD_SECONDS = 10.0
"""What a load test at one rate takes beyond its own seconds: photos, Locust's start, warm-up, late answers."""

ADOPTED_SECONDS = 1.0
"""A stage that took less adopted what was there: it says nothing of the next one that works."""

Status = Literal["waiting", "running", "done", "failed"]


@dataclass
class Leg:
    """One stage of a command: its estimate in seconds, and what became of it."""

    name: str
    estimate_seconds: float
    status: Status = "waiting"
    begun: float = 0.0
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """What a person calls it."""
        return TITLES.get(self.name, self.name)


def run_stages(*, ec2: bool, load_test: bool) -> tuple[str, ...]:
    """Return the stages of `kennel run`."""
    more = ("train_ec2",) if ec2 else ()
    return (SERVERS, "stage_data", "train_sagemaker", *more, "deploy", *(("loadtest",) if load_test else ()))


def load_seconds(mode: str, seconds: float) -> dict[str, float]:
    """Return what the arguments of a load test say of its time, for `Journey`; nothing of a checked one."""
    return {} if mode == "checked" else {"loadtest": seconds + STEADY_OVERHEAD_SECONDS}


class Journey:
    """The planned stages; a stage that nobody planned joins when it begins."""

    def __init__(
        self, names: Sequence[str], estimates: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.legs = [Leg(name, estimates.get(name, USUAL_SECONDS.get(name, 0.0))) for name in names]
        self._known = frozenset(estimates)
        self._clock = clock

    def expect(self, estimates: Mapping[str, float]) -> None:
        """Take estimates, in seconds by name, for stages that did not end yet and whose seconds no argument says."""
        for leg in self.legs:
            if leg.status in {"waiting", "running"} and leg.name in estimates and leg.name not in self._known:
                leg.estimate_seconds = estimates[leg.name]

    def apply(self, stage: Stage) -> Leg:
        """Note that a stage began or ended, and return it."""
        leg = next((leg for leg in self.legs if leg.name == stage.name), None)
        if leg is None:
            leg = Leg(stage.name, USUAL_SECONDS.get(stage.name, 0.0))
            self.legs.append(leg)
        if stage.state == "begins":
            leg.status, leg.begun = "running", self._clock()
        else:
            leg.status, leg.seconds = stage.state, stage.seconds
        return leg

    def seconds(self, leg: Leg) -> float:
        """Return how long a stage has taken so far."""
        return self._clock() - leg.begun if leg.status == "running" else leg.seconds

    def number(self, leg: Leg) -> str:
        """Return "2 of 6"."""
        return f"{self.legs.index(leg) + 1} of {len(self.legs)}"

    @property
    def running(self) -> Leg | None:
        """The stage that runs, the innermost if several do."""
        return next((leg for leg in reversed(self.legs) if leg.status == "running"), None)


def earlier_seconds(runs: Path) -> dict[str, float]:
    """Return the seconds that stages took in earlier runs of this folder, the latest that really worked first.

    A record that cannot be read is passed over: an estimate is not worth an error.
    """
    found: dict[str, float] = {}
    for path in sorted(runs.glob("*/pipeline.json"), key=lambda path: path.stat().st_mtime):
        try:
            seconds = json.loads(path.read_text())["seconds"]
            found |= {name: float(took) for name, took in seconds.items() if float(took) >= ADOPTED_SECONDS}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found
