"""Tells which hyperparameters mattered in a search: the share of the losses' variance that each explains alone.

The shares are those of fANOVA in Optuna (Hutter et al. 2014, "An efficient approach for assessing hyperparameter
importance"). A trial that was cut might have become better, so trials are compared by their lowest loss in the same
number of epochs: the most that enough of them ran. The forest of 20 trials is unsure of itself, so it is grown again on
trials that are drawn with replacement. Optuna is imported only here, when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.report.search_axes import Axis, axes_of, drawn_trials
from tasks.run.record_store import Count, Share
from tasks.run.trials import COMPLETE, Search, Trial

LEAST_TRIALS = 10
RESAMPLES, TREES = 20, 16
INTERVAL = (0.025, 0.975)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The share of the variance that one hyperparameter explains alone, and 95 % of the resampled shares."""

    name: str
    share: Share
    low: Share
    high: Share


@dataclass(frozen=True, kw_only=True)
class Importances:
    """The shares, the greatest first, from so many trials, by their lowest loss in the first `epochs`.

    `why_none` says why there are no shares; it is "" where there are.
    """

    trials: Count
    epochs: Count = 0
    shares: tuple[Importance, ...] = ()
    why_none: str = ""

    @property
    def of_what(self) -> str:
        """What the shares are of, in words."""
        return f"{self.trials} trials by their lowest loss in {self.epochs} epoch{'' if self.epochs == 1 else 's'}"


def importances_of(search: Search) -> Importances:
    """Return the importance of each hyperparameter of a search's space, the same for the same search.

    Raises:
        ValueError, LookupError, TypeError: the search's space or its trials' parameters are malformed.
    """
    axes = axes_of(search)
    drawn = drawn_trials(search, axes)
    epochs = most_epochs(drawn)
    trials = [trial for trial in drawn if _ran(trial, epochs)]
    if len(trials) < LEAST_TRIALS:
        why = f"not enough trials: {len(trials)} have a loss and lie within the space, and {LEAST_TRIALS} are needed"
        return Importances(trials=len(trials), why_none=why)
    places = np.array([[axis.place(trial.parameters[axis.name]) for axis in axes] for trial in trials])
    losses = np.array([min(trial.losses[:epochs]) for trial in trials], np.float64)
    whole = _shares(axes, places, losses, search.seed)
    if whole is None:
        return Importances(trials=len(trials), epochs=epochs, why_none="the trials do not differ in their loss")
    shares = _with_intervals(axes, places, losses, whole, search.seed)
    return Importances(trials=len(trials), epochs=epochs, shares=shares)


def most_epochs(trials: Sequence[Trial]) -> int:
    """Return the greatest number of epochs that enough trials ran or did not need; 0 if there are too few trials."""
    lengths = sorted({len(trial.losses) for trial in trials}, reverse=True)
    return next((each for each in lengths if sum(_ran(trial, each) for trial in trials) >= LEAST_TRIALS), 0)


def _ran(trial: Trial, epochs: int) -> bool:
    return trial.state == COMPLETE or len(trial.losses) >= epochs


def _with_intervals(
    axes: list[Axis], places: Floats, losses: Floats, whole: Floats, seed: int
) -> tuple[Importance, ...]:
    random = np.random.default_rng(seed)
    drawn = [whole]
    for number in range(RESAMPLES):
        chosen = random.integers(len(losses), size=len(losses))
        again = _shares(axes, places[chosen], losses[chosen], seed + number + 1)
        drawn += [] if again is None else [again]
    low, high = np.quantile(drawn, INTERVAL, axis=0)
    found = [
        Importance(name=axis.name, share=float(whole[at]), low=float(min(low[at], whole[at])), high=float(high[at]))
        for at, axis in enumerate(axes)
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


def _shares(axes: list[Axis], places: Floats, losses: Floats, seed: int) -> Floats | None:
    """Return a share for each axis; None when the losses do not vary."""
    if np.ptp(losses) == 0:
        return None
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        axis.name: optuna.distributions.FloatDistribution(*axis.ends) for axis in axes
    }
    study = optuna.create_study()
    for row, loss in zip(places, losses, strict=True):
        values = dict(zip(distributions, map(float, row), strict=True))
        study.add_trial(optuna.create_trial(value=float(loss), params=values, distributions=distributions))
    try:
        found = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed % 2**32).evaluate(study)
    except RuntimeError:  # no tree of the forest was given losses that differ
        return None
    return np.clip([found[axis.name] for axis in axes], 0.0, 1.0)
