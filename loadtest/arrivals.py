"""Compute when requests are due, as a Poisson process with a piecewise constant rate. Pure; no clock.

The users of a service do not wait for each other, so arrivals must not depend on responses: this is the open model
(Schroeder, Wierman, Harchol-Balter, "Open versus closed: a cautionary tale", NSDI 2006).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A period with one arrival rate, which may be 0. Consecutive stages of the same `name` are reported as one."""

    rate_per_second: float
    seconds: float
    name: str = ""

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ValueError: the rate is negative or not finite, or the duration is not positive and finite.
        """
        if not 0 <= self.rate_per_second < float("inf"):
            raise ValueError(f"rate_per_second={self.rate_per_second!r} must be a finite number of at least 0")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds={self.seconds!r} must be a finite number above 0")


def total_seconds(stages: Sequence[Stage]) -> float:
    """Return the total duration of the stages, in seconds."""
    return sum(stage.seconds for stage in stages)


def expected_arrivals(stages: Sequence[Stage]) -> float:
    """Return the expected number of arrivals in all stages."""
    return sum(stage.rate_per_second * stage.seconds for stage in stages)


def poisson_arrivals(stages: Sequence[Stage], *, seed: int, worker: int = 0, workers: int = 1) -> Iterator[float]:
    """Yield the intended start times in ascending order, in seconds from the start.

    Each of `workers` generators draws an independent process of 1/workers of the rate; together they are a Poisson
    process of the whole rate. The same seed and worker give the same times.

    Raises:
        ValueError: `worker` is not in 0..workers - 1.
    """
    if not 0 <= worker < workers:
        raise ValueError(f"worker={worker} must be in 0..{workers - 1}")
    draw = random.Random(f"{seed}:{worker}")
    begin = 0.0
    for stage in stages:
        end = begin + stage.seconds
        rate = stage.rate_per_second / workers
        # The exponential distribution has no memory, so drawing may start again at each stage.
        due = begin + draw.expovariate(rate) if rate > 0 else end
        while due < end:
            yield due
            due += draw.expovariate(rate)
        begin = end
