"""What a search for hyperparameters tried and chose, as a training job tells it in its model's meta.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator

from tasks.run.record_store import Amount, Count, Share

COMPLETE: Final = "complete"
PRUNED: Final = "pruned"
FAILED: Final = "failed"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial; number 0 has the hyperparameters that would have been used without a search.

    `losses` are the validation losses after each epoch, per sample; `loss` is the lowest of them and `accuracy` that of
    its epoch, on `images` validation images. A trial that was cut (`pruned`) or failed cannot win.
    """

    number: Count
    parameters: Mapping[str, float]
    state: Literal["complete", "pruned", "failed"]
    losses: tuple[float, ...]
    loss: float | None
    accuracy: Share | None
    images: Count
    seconds: Amount
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The winner's validation loss minus number 0's, on the same images, with a bootstrap interval of 95 %.

    The winner was chosen by its loss on these images, which flatters it.
    """

    difference: float
    low: float
    high: float
    images: Count

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves no doubt that the winner is better."""
        return self.high < 0


Bounds = Annotated[str, BeforeValidator(lambda given: given if isinstance(given, str) else json.dumps(given))]
"""Within which a hyperparameter was varied, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """All trials of a search, the number of the one that won, and what the search took in seconds."""

    objective: str
    space: Mapping[str, Bounds]
    seed: Count
    winner: Count
    against_default: Difference | None
    trials: tuple[Trial, ...]
    seconds: Amount

    @property
    def best(self) -> Trial:
        """The winner, found anew as the complete trial of the lowest loss, the first of equals.

        Raises:
            ValueError: no trial is complete.
        """
        complete = [trial for trial in self.trials if trial.state == COMPLETE and trial.loss is not None]
        return min(complete, key=lambda trial: (trial.loss, trial.number))

    def count(self, state: str) -> int:
        """Return how many trials ended so, number 0 left out."""
        return sum(trial.state == state for trial in self.trials[1:])
