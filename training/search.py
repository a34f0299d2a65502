"""Search for hyperparameters on embeddings that are computed once, or, with fine-tuning, on whole networks.

Trial 0 has the hyperparameters that a training without a search would have. Of a head it is that training's own fit,
which is the job's model if no other trial wins. The others run in rounds. In a round the ranks share the trials of a
head, each of which one rank trains alone in float32; a trial of fine-tuning is shared by all ranks, because each has
only its own pictures. The trial of the lowest validation loss wins, and the job then trains its model with those
hyperparameters as it would have without a search. The test split plays no part.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from training.checkpoint import FitCheckpoint
from training.failures import TrainingFailure
from training.fit import Metrics
from training.job import Job
from training.search_space import Number, Space, parse_space, space_json
from training.trial_models import Pruned, Trials
from training.trials import COMPLETE, FAILED, PRUNED, Trial, best_of, is_cut, is_hopeless, propose, without_needless

if TYPE_CHECKING:
    from optuna import Trial as Proposal

ROUND = 4
"""Trials of one round, however many ranks share them, trial 0 among those of the first: the proposals of a round know
the results of those before it."""


@dataclass
class Search:
    """A search over one space; `run` returns all trials, of which `best_of` is the winner."""

    job: Job
    space: Space
    trials: Trials
    checkpoint: FitCheckpoint
    found: list[Trial]

    @staticmethod
    def of(job: Job, default_space: Space, trials: Trials, features: str, default: Trial | None = None) -> "Search":
        """Begin a search, or resume the one in the checkpoint folder.

        `features` names how pictures become features; `default` is trial 0 if it ran already.

        Raises:
            TrainingFailure: the job's search space is none.
        """
        given = job.config.hyperparameters.search_space
        space = parse_space(given) if given else default_space
        facts = [asdict(job.config.hyperparameters), repr(space), job.manifest.digest, features]
        checkpoint = FitCheckpoint(
            job.config.folders.checkpoint,
            "search",
            fingerprint=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
            interval_seconds=0.0,
            say=job.say,
        )
        saved = job.world.broadcast(checkpoint.load)
        found = [Trial.of(each) for each in saved.facts["trials"]] if saved else []
        if found and job.world.is_first:
            job.say(f"resuming the search after {len(found)} trials")
        search = Search(job, space, trials, checkpoint, found)
        if default and not found:
            own = job.config.hyperparameters
            search._add([replace(default, parameters={name: getattr(own, name) for name in space})])
        return search

    def run(self) -> list[Trial]:
        """Run the trials that are left.

        Raises:
            TrainingFailure: no trial has a result, or a picture is damaged.
            Interrupted: a rank received SIGTERM; the rounds before this one are in the checkpoint folder.
        """
        chosen = self.job.config.hyperparameters
        while len(self.found) < chosen.trials + 1:
            whole = ROUND - len(self.found) % ROUND if self.trials.shares_trials else 1
            size = min(whole, chosen.trials + 1 - len(self.found))
            self._add(self._round(size))
        if best_of(self.found) is None:
            reasons = "; ".join(sorted({trial.reason for trial in self.found}))
            raise TrainingFailure(f"all {len(self.found)} trials of the search failed: {reasons}")
        return self.found

    def _round(self, size: int) -> list[Trial]:
        first = len(self.found)
        world = self.job.world
        drawn = propose(self.space, self.found, size, self.job.config.hyperparameters.seed)
        numbers = range(first, first + size)
        mine = [
            (number, proposal)
            for place, (number, proposal) in enumerate(zip(numbers, drawn, strict=True))
            if not self.trials.shares_trials or place % world.size == world.rank
        ]
        done = world.run_on_every_rank(lambda: [self._try(number, proposal) for number, proposal in mine])
        everywhere = {trial.number: trial for part in world.gather_objects(done) for trial in part}
        return [everywhere[number] for number in numbers]

    def _try(self, number: int, proposal: "Proposal") -> Trial:
        """Run one trial; number 0 has the hyperparameters of the job."""
        own = self.job.config.hyperparameters
        values: Mapping[str, Number] = proposal.params if number else {name: getattr(own, name) for name in self.space}
        epochs = own.finetune_epochs if own.finetune else own.epochs
        begun, measured = time.perf_counter(), list[Metrics]()

        def watch(metrics: Metrics) -> None:
            measured.append(metrics)
            others = self.found if len(self.found) > 1 or self.trials.default_cuts_alone else []
            losses = [each.loss for each in measured]
            if number and (is_cut(others, losses, epochs) or is_hopeless(self.found, losses, epochs)):
                raise Pruned

        samples: tuple[float, ...] = ()
        try:
            samples = self.trials.train(own.having(values), watch)
            state, reason = COMPLETE, ""
        except Pruned:
            state, reason = PRUNED, ""
        except TrainingFailure as failure:
            state, reason = FAILED, str(failure)
        best = min(measured, key=lambda each: each.loss, default=None) if state != FAILED else None
        return Trial(
            number,
            dict(values),
            state,
            tuple(each.loss for each in measured),
            best.loss if best else None,
            best.accuracy if best else None,
            best.images if best else 0,
            round(time.perf_counter() - begun, 3),
            reason,
            samples,
        )

    def _add(self, trials: Sequence[Trial]) -> None:
        self.found = without_needless([*self.found, *trials])
        if self.job.world.is_first:
            for trial in trials:
                self.job.say(trial.line)
            self.checkpoint.save({}, {"trials": [trial.facts for trial in self.found]})


def choose_hyperparameters(search: Search) -> dict[str, Any]:
    """Run a search, give the job the winner's hyperparameters, and return the search as JSON.

    Raises:
        TrainingFailure, Interrupted: as `Search.run`.
    """
    job, begun = search.job, time.perf_counter()
    trials = search.run()
    winner = best_of(trials)
    assert winner is not None
    own = job.config.hyperparameters
    job.config = replace(job.config, hyperparameters=own.having(winner.parameters))
    if job.world.is_first:
        job.say(f"the search chose trial {winner.number}: {winner.line}")
    return {
        "objective": "validation loss per sample",
        "space": space_json(search.space),
        "seed": own.seed,
        "winner": winner.number,
        "against_default": against_default(trials[0], winner, own.seed),
        "trials": [{**trial.facts, "sample_losses": None} for trial in trials],
        "seconds": round(time.perf_counter() - begun, 3),
    }


RESAMPLES = 2000
INTERVAL = (0.025, 0.975)


def against_default(default: Trial, winner: Trial, seed: int) -> dict[str, float] | None:
    """Return the winner's mean loss minus that of trial 0 on the same pictures, with a bootstrap interval of 95 %.

    The winner was chosen by its loss on these pictures, which flatters it. None when trial 0 has no result.
    """
    if default.state != COMPLETE:
        return None
    pairs = torch.tensor([winner.sample_losses, default.sample_losses], dtype=torch.float64)
    differences = pairs[0] - pairs[1]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(differences), (RESAMPLES, len(differences)), generator=generator)
    low, high = differences[drawn].mean(1).quantile(torch.tensor(INTERVAL, dtype=torch.float64)).tolist()
    return {"difference": differences.mean().item(), "low": low, "high": high, "images": len(differences)}
