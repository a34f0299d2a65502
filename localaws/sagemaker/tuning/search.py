"""Proposes hyperparameters and learns what became of them; it knows nothing of jobs and processes.

Bayesian search is Optuna's tree-structured Parzen estimator, in which proposals that run count as bad ones
(`constant_liar`), so that those of parallel jobs differ. Random search and Hyperband draw evenly. Hyperband cuts by
Optuna's asynchronous successive halving, in brackets. A grid is gone through in order. Optuna is imported when a search
begins, because that takes 0.6 s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localaws.sagemaker.tuning.ranges import Choice, Range, distributions_of, texts_of
from localaws.sagemaker.tuning.requests import Objective, Resource

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

NUMPY_SEEDS = 2**32
"""numpy, from which Optuna draws, takes no larger seed."""


@dataclass(frozen=True)
class Proposal:
    """Hyperparameters to be tried; `number` counts from 0."""

    number: int
    values: Mapping[str, str]


class Search(Protocol):
    """One search, used by one thread."""

    def propose(self) -> Proposal | None:
        """Return the next hyperparameters, None when there are no others."""

    def should_stop(self, number: int, curve: Sequence[float]) -> bool:
        """Return whether the search gives a proposal no more resource; `curve`: the objective after each unit."""

    def tell(self, number: int, value: float | None) -> None:
        """Take note of a proposal's objective, None if it has none."""

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """Take note of what another search found, before the first proposal."""


def search_for(
    strategy: str, ranges: Sequence[Range], objective: Objective, *, seed: int | None, resource: Resource | None = None
) -> Search:
    """Return the search of a strategy of the API; `resource` is Hyperband's."""
    if strategy == "Grid":
        return GridSearch([each for each in ranges if isinstance(each, Choice)])
    return StudySearch(ranges, objective, _sampler(strategy, seed), _pruner(resource), resource)


class GridSearch:
    """All combinations of categorical values, in their order; the last hyperparameter varies fastest."""

    def __init__(self, ranges: Sequence[Choice]) -> None:
        self._names = [each.name for each in ranges]
        self._left: Iterator[tuple[int, tuple[str, ...]]] = enumerate(
            itertools.product(*(each.values for each in ranges))
        )

    def propose(self) -> Proposal | None:
        """Return the next combination, None after the last."""
        following = next(self._left, None)
        return following and Proposal(following[0], dict(zip(self._names, following[1], strict=True)))

    def should_stop(self, number: int, curve: Sequence[float]) -> bool:  # noqa: ARG002 of the protocol
        """Return False: a grid is gone through as a whole."""
        return False

    def tell(self, number: int, value: float | None) -> None:
        """Learn nothing."""

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """Learn nothing."""


class StudySearch:
    """A search by an Optuna study."""

    def __init__(
        self,
        ranges: Sequence[Range],
        objective: Objective,
        sampler: BaseSampler,
        pruner: BasePruner,
        resource: Resource | None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._ranges, self._resource = ranges, resource
        self._study = optuna.create_study(
            study_name="search",  # Hyperband draws a proposal's bracket from it
            direction="maximize" if objective.is_maximized else "minimize",
            sampler=sampler,
            pruner=pruner,
        )
        self._running: dict[int, Trial] = {}
        self._reported: dict[int, int] = {}
        self._first: int | None = None

    def propose(self) -> Proposal | None:
        """Return the next hyperparameters; there are always others."""
        trial = self._study.ask(distributions_of(self._ranges))
        if self._first is None:
            self._first = trial.number  # those before it are learned
        number = trial.number - self._first
        self._running[number] = trial
        return Proposal(number, texts_of(self._ranges, trial.params))

    def should_stop(self, number: int, curve: Sequence[float]) -> bool:
        """Return whether Hyperband cuts a proposal, or has given it all; never with another strategy."""
        if self._resource is None:
            return False
        trial = self._running[number]
        for step in range(self._reported.get(number, 0) + 1, min(len(curve), self._resource.most) + 1):
            self._reported[number] = step
            trial.report(curve[step - 1], step)
            if step >= self._resource.least and trial.should_prune():
                return True
        return len(curve) >= self._resource.most

    def tell(self, number: int, value: float | None) -> None:
        """Take note of a proposal's objective, None if it has none."""
        from optuna.trial import TrialState

        trial = self._running.pop(number)
        if value is None or not math.isfinite(value):
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """Take note of what another search found, before the first proposal; values out of a range are left out."""
        from optuna.trial import create_trial

        drawn = {each.name: each.drawn_of(values[each.name]) for each in self._ranges if each.name in values}
        known = {name: each for name, each in drawn.items() if each is not None}
        distributions = {name: each for name, each in distributions_of(self._ranges).items() if name in known}
        self._study.add_trial(create_trial(params=known, distributions=distributions, value=value))


def _sampler(strategy: str, seed: int | None) -> BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    own_seed = None if seed is None else seed % NUMPY_SEEDS
    if strategy == "Bayesian":
        return TPESampler(seed=own_seed, constant_liar=True)
    return RandomSampler(seed=own_seed)


def _pruner(resource: Resource | None) -> BasePruner:
    from optuna.pruners import HyperbandPruner, NopPruner

    return HyperbandPruner(min_resource=resource.least, max_resource=resource.most) if resource else NopPruner()
