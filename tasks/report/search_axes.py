"""Reads within which bounds a search varied each hyperparameter, and places values between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tasks.run.sealed import parse_json
from tasks.run.trials import FAILED, Search, Trial


@dataclass(frozen=True)
class Axis:
    """The values that a search could draw for one hyperparameter: a range, or `choices` in ascending order."""

    name: str
    low: float
    high: float
    is_log: bool = False
    choices: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, bounds: str) -> Axis:
        """Read the bounds of a search's space.

        Raises:
            ValueError, LookupError, TypeError: they are no JSON object of a range or of choices.
        """
        given = parse_json(bounds)
        if "choices" in given:
            values = tuple(sorted(float(value) for value in given["choices"]))
            return cls(name, values[0], values[-1], choices=values)
        return cls(name, float(given["low"]), float(given["high"]), is_log=given.get("scale") == "log")

    def holds(self, value: float) -> bool:
        """Tell whether the search could draw a value."""
        return value in self.choices if self.choices else self.low <= value <= self.high

    def place(self, value: float) -> float:
        """Return where a value lies, in units in which the search draws evenly: a logarithm, a choice's number."""
        if self.choices:
            return float(self.choices.index(value))
        return math.log10(value) if self.is_log else value

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the axis, in the units of `place`; each choice takes one unit."""
        if self.choices:
            return -0.5, len(self.choices) - 0.5
        return self.place(self.low), self.place(self.high)


def axes_of(search: Search) -> list[Axis]:
    """Return the axes of a search's space.

    Raises:
        ValueError, LookupError, TypeError: as `Axis.of`.
    """
    return [Axis.of(name, bounds) for name, bounds in search.space.items()]


def drawn_trials(search: Search, axes: list[Axis]) -> list[Trial]:
    """Return the trials with a loss that the search could have drawn; number 0, the default, may lie outside."""
    return [
        trial
        for trial in search.trials
        if trial.state != FAILED
        and trial.loss is not None
        and all(math.isfinite(loss) for loss in trial.losses)
        and all(axis.holds(trial.parameters[axis.name]) for axis in axes)
    ]
