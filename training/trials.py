"""What a trial of a search found, and Optuna's proposals for the next ones.

Proposals depend on nothing but the space, the trials so far and the seed: each round makes Optuna's study anew from
them. A search on two hosts, or one that goes on after an interruption, therefore tries what one host would have tried.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from training.search_space import Number, Space, distributions, holds

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as Proposal

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
RANDOM_TRIALS = 8
"""Drawn evenly before the tree-structured Parzen estimator has enough to go by."""

RUNGS = (3, 6, 12, 24, 48, 96, 192, 384, 768)
"""After so many epochs a trial is compared with all that got so far, and cut unless it is in the better half."""

SLOPE_EPOCHS = 3
"""Over so many epochs the slope of a trial's losses is taken."""

NUMPY_SEEDS = 2**32
"""numpy, from which Optuna draws, takes no larger seed."""


@dataclass(frozen=True)
class Trial:
    """One trial: `losses` are the validation losses after each epoch, per sample, and `loss` is the lowest of them.

    Number 0 has the hyperparameters that would have been used without a search. `sample_losses` are those of each
    validation picture at the lowest loss; only number 0 and the best trial keep them.
    """

    number: int
    parameters: dict[str, Number]
    state: str
    losses: tuple[float, ...] = ()
    loss: float | None = None
    accuracy: float | None = None
    images: int = 0
    seconds: float = 0.0
    reason: str = ""
    sample_losses: tuple[float, ...] = ()

    @staticmethod
    def of(facts: dict[str, Any]) -> Trial:
        """Return the trial that `facts` was made of."""
        pairs = {name: tuple(facts[name]) for name in ("losses", "sample_losses")}
        return Trial(**{**facts, **pairs})

    @property
    def facts(self) -> dict[str, Any]:
        """The trial as JSON."""
        return asdict(self)

    @property
    def line(self) -> str:
        """The trial as a line of the log."""
        values = " ".join(f"{name}={value:.4g}" for name, value in self.parameters.items())
        found = "" if self.loss is None else f" loss={self.loss:.6f} accuracy={self.accuracy:.4f} n={self.images}"
        why = f" reason={self.reason!r}" if self.reason else ""
        return f"trial={self.number} state={self.state}{found} epochs={len(self.losses)} {values}{why}"


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial of the lowest loss, the first of equals; None when none is complete."""
    complete = [trial for trial in trials if trial.state == COMPLETE and trial.loss is not None]
    return min(complete, key=lambda trial: (trial.loss, trial.number), default=None)


def without_needless(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials, of which only number 0 and the best keep the losses of each picture."""
    best = best_of(trials)
    return [trial if trial.number == 0 or trial is best else replace(trial, sample_losses=()) for trial in trials]


def is_cut(trials: Sequence[Trial], losses: Sequence[float], epochs: int) -> bool:
    """Tell whether a trial of `epochs` ends after these losses: at a rung, in the worse half of those that got there.

    That is asynchronous successive halving, by halves. Optuna's pruner would also look at trials that run at the same
    time on the same rank, so that the result would depend on the number of ranks.
    """
    rung = len(losses)
    if rung not in RUNGS or rung >= epochs:
        return False
    others = [min(trial.losses[:rung]) for trial in trials if len(trial.losses) >= rung and trial.state != FAILED]
    return bool(others) and min(losses) > statistics.median(others)


def is_hopeless(trials: Sequence[Trial], losses: Sequence[float], epochs: int) -> bool:
    """Tell whether a trial of `epochs` would stay above the lowest loss of the complete trials, falling no faster.

    Losses fall ever more slowly (learning curves are convex), so a straight line is the best that can come.
    """
    best = best_of(trials)
    if best is None or best.loss is None or not SLOPE_EPOCHS < len(losses) < epochs:
        return False
    before, now = min(losses[:-SLOPE_EPOCHS]), min(losses)
    return now - (before - now) / SLOPE_EPOCHS * (epochs - len(losses)) > best.loss


def propose(space: Space, trials: Sequence[Trial], count: int, seed: int) -> list[Proposal]:
    """Return the next `count` proposals, whose parameters are drawn."""
    study = _study(space, trials, seed)
    return [study.ask(distributions(space)) for _ in range(count)]


def _study(space: Space, trials: Sequence[Trial], seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own_seed = (seed * 1_000_003 + len(trials)) % NUMPY_SEEDS
    sampler = optuna.samplers.TPESampler(seed=own_seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    for trial in trials:
        if holds(space, trial.parameters):
            study.add_trial(_frozen(space, trial))
    return study


def _frozen(space: Space, trial: Trial) -> Any:
    """Return Optuna's record of a trial. One that was cut has the value that it had reached, as if it were complete.

    Optuna ranks what it calls pruned by the number of epochs first, so one that was cut late for being hopeless would
    come before one that was cut earlier at a lower loss.
    """
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.FAIL if trial.state == FAILED else TrialState.COMPLETE,
        value=trial.loss if trial.state != FAILED else None,
        params={name: trial.parameters[name] for name in space},
        distributions=distributions(space),
    )
