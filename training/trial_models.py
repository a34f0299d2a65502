"""The models that the trials of a search train: heads on embeddings, or whole networks."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import nn

from training.adamw import AdamW
from training.checkpoint import FitCheckpoint
from training.config import Hyperparameters
from training.distributed import World
from training.embed import Embeddings
from training.finetune import ImageTask, network_optimizer
from training.fit import Fit, Metrics, Schedule, copied
from training.heads import HeadRows, HeadTask
from training.job import Job, print_line
from training.model import Classifier
from training.preprocess import Preprocessing
from training.stages import Pictures


class Pruned(Exception):
    """The trial is worse than most others were at that epoch."""


class Trials(Protocol):
    """Trains one model for each trial; `watch` gets the metrics after each epoch and may raise `Pruned`."""

    shares_trials: bool
    """Whether one rank trains a trial alone."""

    default_cuts_alone: bool
    """Whether a trial is compared after so many epochs where the default is all that it can be compared with."""

    def train(self, hyperparameters: Hyperparameters, watch: Callable[[Metrics], None]) -> tuple[float, ...]:
        """Return the loss of each validation picture under the weights of the lowest loss.

        Raises:
            TrainingFailure: the loss is not finite or has exploded.
            Pruned, Interrupted: `watch` raised the first; the job received SIGTERM.
        """
        ...


class HeadTrials:
    """Heads on the embeddings of the whole training split, in float32, each on one rank.

    The default's batches are smaller than those of the others, so it is ahead of them after as many epochs: compared
    with it alone nearly all would be cut.
    """

    shares_trials = True
    default_cuts_alone = False

    def __init__(
        self,
        training: Embeddings,
        validation: Embeddings,
        classes: Sequence[str],
        world: World,
        interrupted: threading.Event,
    ) -> None:
        self._rows = HeadRows.of(training, world.device, torch.float32)
        self._validation = validation
        self._classes = len(classes)
        self._alone = replace(world, rank=0, size=1)
        self._interrupted = interrupted

    def train(self, hyperparameters: Hyperparameters, watch: Callable[[Metrics], None]) -> tuple[float, ...]:
        """Train one head."""
        task = HeadTask.of(self._rows, self._classes, hyperparameters, self._alone)
        measure = task.evaluator(self._validation)

        def evaluate() -> Metrics:
            metrics = measure()
            watch(metrics)
            return metrics

        fit = _silent_fit(self._alone, task.head, task.optimizer(), hyperparameters, self._classes, self._interrupted)
        schedule = Schedule(hyperparameters.epochs, hyperparameters.patience)
        fit.run(schedule, batches=task.batches, evaluate=evaluate)
        return task.sample_losses(self._validation)


class NetworkTrials:
    """Whole networks, each fine-tuned from the same head by all ranks together."""

    shares_trials = False
    default_cuts_alone = True

    def __init__(
        self,
        classifier: Classifier,
        preprocessing: Preprocessing,
        job: Job,
        pictures: Pictures,
    ) -> None:
        self._classifier = classifier
        self._start = copied(classifier)
        self._preprocessing = preprocessing
        self._job = job
        self._pictures = pictures

    def train(self, hyperparameters: Hyperparameters, watch: Callable[[Metrics], None]) -> tuple[float, ...]:
        """Fine-tune from the start; the classifier has the start's weights again afterwards."""
        job, optimizer = self._job, network_optimizer(self._classifier, hyperparameters)
        images = ImageTask(self._classifier, self._preprocessing, hyperparameters, job.world, job.threads)
        classes = len(job.manifest.classes)
        fit = _silent_fit(
            job.world, self._classifier, optimizer, hyperparameters, classes, job.interrupted, is_bf16=images.is_bf16
        )
        try:
            images.fit(fit, self._pictures.training, self._pictures.validation, watch)
            own = images.sample_losses(self._pictures.validation)
        finally:
            self._classifier.load_state_dict(self._start)
            images.close()
        return tuple(loss for part in job.world.gather_objects(own) for loss in part)


def _silent_fit(
    world: World,
    model: nn.Module,
    optimizer: AdamW,
    hyperparameters: Hyperparameters,
    classes: int,
    interrupted: threading.Event,
    *,
    is_bf16: bool = False,
) -> Fit:
    """Return an epoch loop that prints nothing and keeps nothing."""
    return Fit(
        model,
        optimizer,
        world=world,
        checkpoint=FitCheckpoint(None, "trial", fingerprint="", interval_seconds=math.inf, say=print_line),
        interrupted=interrupted,
        say=lambda _: None,
        classes=classes,
        label_smoothing=hyperparameters.label_smoothing,
        is_bf16=is_bf16,
    )
