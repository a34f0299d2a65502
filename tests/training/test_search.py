"""A search on embeddings: the same trials whatever happens on the way, and a winner by the loss per picture."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.datasets import configure
from training.config import Folders, Hyperparameters
from training.distributed import World
from training.embed import Embeddings
from training.failures import Interrupted, TrainingFailure
from training.fit import measure
from training.job import Job
from training.search import Search, against_default, choose_hyperparameters
from training.search_space import HEAD_SPACE
from training.shards import Manifest
from training.trial_models import HeadTrials
from training.trials import COMPLETE, FAILED, PRUNED, Trial, best_of, is_hopeless, without_needless

ALONE = World(0, 1, 0, 1, "here", torch.device("cpu"))
CLASSES = ("apple", "moss", "sky")
HYPERPARAMETERS = Hyperparameters(epochs=6, learning_rate=1e-2, batch_size=8, trials=11, seed=3)


def embeddings(images: int, *, views: int = 1, seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 3
    noise = torch.randn(images, views, 16, generator=generator)
    return Embeddings(torch.arange(images), labels, noise + torch.eye(16)[labels][:, None])


@dataclass
class Heard(Job):
    """A job whose lines are kept; `interrupt_at` sets the SIGTERM flag when there are lines of so many trials."""

    lines: list[str] = field(default_factory=list)
    interrupt_at: int | None = None

    def say(self, message: str) -> None:
        self.lines.append(message)
        if sum(line.startswith("trial=") for line in self.lines) == self.interrupt_at:
            self.interrupted.set()


def job(
    hyperparameters: Hyperparameters = HYPERPARAMETERS,
    *,
    checkpoint: Path | None = None,
    interrupt_at: int | None = None,
) -> Heard:
    nowhere = Path()
    folders = Folders(nowhere, nowhere, None, nowhere, None, nowhere, checkpoint, None)
    manifest = Manifest("0" * 64, "tiny", CLASSES, {}, {})
    config = configure(folders, hyperparameters)
    return Heard(config, ALONE, manifest, threading.Event(), 1, interrupt_at=interrupt_at)


def search(on: Job) -> Search:
    trials = HeadTrials(embeddings(60, views=2), embeddings(30, seed=1), CLASSES, ALONE, on.interrupted)
    return Search.of(on, HEAD_SPACE, trials, "these")


def trials_of(on: Job) -> list[Trial]:
    return timeless(search(on).run())


def timeless(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in trials]


@pytest.fixture(scope="module")
def whole() -> list[Trial]:
    return trials_of(job())


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(whole: list[Trial]) -> None:
    assert trials_of(job()) == whole
    other = trials_of(job(replace(HYPERPARAMETERS, seed=4)))
    assert [trial.parameters for trial in other[1:]] != [trial.parameters for trial in whole[1:]]


def test_number_0_is_what_would_have_been_trained_and_the_others_lie_in_the_space(whole: list[Trial]) -> None:
    assert whole[0].parameters == {name: getattr(HYPERPARAMETERS, name) for name in HEAD_SPACE}
    assert [trial.number for trial in whole] == list(range(HYPERPARAMETERS.trials + 1))
    assert all(trial.parameters["batch_size"] in (128, 256) for trial in whole[1:])
    assert all(trial.images == 30 for trial in whole)


def test_a_trial_that_is_worse_than_most_is_cut_and_never_wins() -> None:
    space = '{"learning_rate": {"low": 1e-5, "high": 1e-1, "scale": "log"}}'
    whole = trials_of(job(replace(HYPERPARAMETERS, search_space=space, trials=15)))
    pruned = [trial for trial in whole if trial.state == PRUNED]
    best = best_of(whole)

    assert pruned and all(2 <= len(trial.losses) < HYPERPARAMETERS.epochs for trial in pruned)
    assert best is not None and best.state == COMPLETE and best.loss == min(t.loss for t in whole if t.loss is not None)


@pytest.mark.parametrize(
    ("losses", "hopeless"),
    [
        ((2.0, 1.9, 1.8, 1.7), False),  # 0.1 an epoch: 1.1 after ten
        ((2.0, 1.95, 1.9, 1.85), True),  # 0.05 an epoch: 1.55
        ((2.0, 1.9, 1.8), False),  # too few to tell a slope
        ((1.1, 1.3, 1.2, 1.25), False),  # not above the best
        ((1.9, 1.3, 1.35, 1.4, 1.45), True),  # rising since
    ],
)
def test_a_trial_that_cannot_reach_the_best_by_falling_as_fast_as_before_is_hopeless(
    losses: tuple[float, ...], hopeless: bool
) -> None:
    complete = Trial(0, {}, COMPLETE, (1.2,), loss=1.2)
    assert is_hopeless([complete], losses, epochs=10) is hopeless
    assert not is_hopeless([replace(complete, state=PRUNED)], losses, epochs=10), "nothing to reach"


def test_an_interrupted_search_goes_on_to_the_same_trials(whole: list[Trial], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trials_of(job(checkpoint=tmp_path, interrupt_at=5))
    resumed = job(checkpoint=tmp_path)

    assert trials_of(resumed) == whole
    assert "resuming the search after 8 trials" in resumed.lines


def test_a_checkpoint_of_another_search_or_of_other_data_is_not_used(whole: list[Trial], tmp_path: Path) -> None:
    trials_of(job(replace(HYPERPARAMETERS, seed=4), checkpoint=tmp_path))
    assert trials_of(job(checkpoint=tmp_path)) == whole
    other = job(checkpoint=tmp_path)
    other.manifest = replace(other.manifest, digest="1" * 64)
    assert search(other).found == []


def test_the_largest_seed_is_one_that_optuna_takes() -> None:
    largest = job(replace(HYPERPARAMETERS, seed=2**31 - 1, trials=3, epochs=1))
    assert len(trials_of(largest)) == 4


def test_a_trial_that_diverges_is_a_failed_trial(whole: list[Trial]) -> None:
    space = '{"learning_rate": {"choices": [0.01, 1e11]}}'
    found = trials_of(job(replace(HYPERPARAMETERS, search_space=space)))

    failed = [trial for trial in found if trial.state == FAILED]
    assert failed and all("lower the learning rate" in trial.reason and trial.loss is None for trial in failed)
    assert all(trial.parameters["learning_rate"] == 1e11 for trial in failed)
    best = best_of(found)
    assert best is not None and best.parameters["learning_rate"] == 0.01


def test_a_search_whose_trials_all_diverge_fails_with_the_reason() -> None:
    space = '{"learning_rate": {"low": 1e10, "high": 1e11}}'
    with pytest.raises(TrainingFailure, match=r"all 12 trials of the search failed: .*lower the learning rate"):
        trials_of(job(replace(HYPERPARAMETERS, search_space=space, learning_rate=1e11)))


def test_the_job_gets_the_winners_hyperparameters_and_the_outcome_is_told() -> None:
    own = job()
    outcome = choose_hyperparameters(search(own))

    chosen, winner = own.config.hyperparameters, outcome["trials"][outcome["winner"]]
    assert {name: getattr(chosen, name) for name in HEAD_SPACE} == winner["parameters"]
    assert (chosen.epochs, chosen.seed) == (HYPERPARAMETERS.epochs, HYPERPARAMETERS.seed)
    against: dict[str, Any] = outcome["against_default"]
    assert against["low"] <= against["difference"] <= against["high"] and against["images"] == 30
    assert against["difference"] == pytest.approx(winner["loss"] - outcome["trials"][0]["loss"], abs=1e-6)


# --- by which measure -------------------------------------------------------------------------------------------------


def planted(losses: list[float], number: int = 1) -> Trial:
    return Trial(number, {}, COMPLETE, (0.0,), sum(losses) / len(losses), 0.5, len(losses), 0.0, "", tuple(losses))


def test_a_measure_by_the_number_of_batches_would_choose_another_model() -> None:
    """The reference tuner divides the sum of the batches' means by images // batch size, and so favours small ones."""
    labels = torch.zeros(23, dtype=torch.int64)
    sure = torch.tensor([[2.0, 0.0]]).repeat(23, 1)
    unsure = torch.tensor([[1.8, 0.0]]).repeat(23, 1)

    def by_batches(logits: torch.Tensor, size: int) -> float:
        means = [measure([(logits[at : at + size], labels[at : at + size])], ALONE).loss for at in range(0, 23, size)]
        return sum(means) / (23 // size)

    better, worse = measure([(sure, labels)], ALONE), measure([(unsure, labels)], ALONE)

    assert by_batches(sure, 16) > by_batches(unsure, 4), "the reference would choose the worse model"
    trials = [planted([each.loss] * 23, number) for number, each in enumerate((worse, better))]
    assert best_of(trials) is trials[1]


def test_equal_models_are_not_distinguishable_and_a_better_one_is() -> None:
    default = planted([0.1 * (n % 7) for n in range(50)], 0)
    same = planted([0.1 * ((n + 3) % 7) for n in range(49)] + [0.1], 1)
    better = planted([0.1 * (n % 7) - 0.05 for n in range(50)], 2)

    interval = against_default(default, same, 0)
    assert interval is not None and interval["low"] < 0 < interval["high"]
    interval = against_default(default, better, 0)
    assert interval is not None and interval["low"] == pytest.approx(-0.05) == interval["high"]
    assert against_default(replace(default, state=FAILED), better, 0) is None


def test_only_number_0_and_the_best_keep_the_losses_of_each_picture() -> None:
    trials = [planted([0.5, 0.5], 0), planted([0.1, 0.1], 1), planted([0.2, 0.2], 2)]
    assert [bool(trial.sample_losses) for trial in without_needless(trials)] == [True, True, False]
