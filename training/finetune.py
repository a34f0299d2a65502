"""Fine-tune the whole network, which is meant for GPU machines.

Each rank trains on its own shards, by DDP, in bf16 (autocast) where that is native and else in fp32. The fit starts
from the head trained on embeddings and keeps those weights unless validation improves. Batch-norm statistics stay
frozen, because the small batches of a small dataset make them worse. Each rank holds its encoded pictures in memory
(about 30 kB each).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from training.adamw import AdamW
from training.config import Hyperparameters
from training.distributed import World
from training.engines import torch_has_bf16
from training.failures import TrainingFailure
from training.fit import Batch, Fit, FitResult, Metrics, Schedule, measure
from training.model import Classifier
from training.pictures import BadPicture, decode
from training.preprocess import Pixels, Preprocessing, augmented_view, evaluation_view
from training.shards import Sample

_EVALUATION_ROWS = 64


class ImageTask:
    """Decodes one rank's pictures into batches for `Fit`, and evaluates the classifier on them."""

    def __init__(
        self,
        classifier: Classifier,
        preprocessing: Preprocessing,
        hyperparameters: Hyperparameters,
        world: World,
        threads: int,
    ) -> None:
        self._classifier = classifier
        self._preprocessing = preprocessing
        self._hyperparameters = hyperparameters
        self._world = world
        self._pool = ThreadPoolExecutor(threads)
        self.is_bf16 = torch_has_bf16(world.device)

    def fit(
        self,
        fit: Fit,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        watch: Callable[[Metrics], None] = lambda _: None,
    ) -> FitResult:
        """Fine-tune for up to `finetune_epochs`; leave the best weights in the classifier.

        `watch` gets the metrics after each epoch; what it raises ends the fit.

        Raises:
            TrainingFailure, Interrupted: as `Fit.run`.
        """

        def evaluate() -> Metrics:
            metrics = self.evaluate(validation)
            watch(metrics)
            return metrics

        schedule = Schedule(self._hyperparameters.finetune_epochs, self._hyperparameters.patience)
        baseline = self.evaluate(validation)
        return fit.run(schedule, batches=self._batches(train), evaluate=evaluate, baseline=baseline)

    def close(self) -> None:
        """End the threads that decode."""
        self._pool.shutdown()

    def sample_losses(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return the loss of each of this rank's pictures, in its evaluation view."""
        losses = [cross_entropy(logits.double(), labels, reduction="none") for logits, labels in self.logits(samples)]
        return tuple(torch.cat(losses).tolist()) if losses else ()

    def evaluate(self, samples: Sequence[Sample]) -> Metrics:
        """Return the metrics over the pictures of all ranks, each in its evaluation view."""
        return measure(self.logits(samples), self._world)

    @torch.no_grad()
    def logits(self, samples: Sequence[Sample]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield logits (n, classes) and labels (n,) of some of this rank's pictures after others, on the CPU."""
        self._classifier.eval()
        for start in range(0, len(samples), _EVALUATION_ROWS):
            chosen = samples[start : start + _EVALUATION_ROWS]
            images = self._images(chosen, lambda pixels, _: evaluation_view(pixels, self._preprocessing))
            with torch.autocast(self._world.device.type, torch.bfloat16, enabled=self.is_bf16):
                logits = self._classifier(images)
            yield logits.float().cpu(), torch.tensor([sample.label for sample in chosen])

    def _batches(self, samples: Sequence[Sample]) -> Callable[[int], Iterator[Batch]]:
        """Return a function that yields an epoch's batches; every rank takes the same number of steps."""
        counts = self._world.gather_objects(len(samples))
        local_batch = max(1, self._hyperparameters.batch_size // self._world.size)
        steps = -(-max(counts) // local_batch)
        sizes = [
            sum(len(part) for part in parts) for parts in zip(*(_split(count, steps) for count in counts), strict=True)
        ]

        def batches(epoch: int) -> Iterator[Batch]:
            order = np.random.default_rng([self._hyperparameters.seed, epoch, self._world.rank]).permutation(
                len(samples)
            )
            for rows, size in zip(_split(len(samples), steps), sizes, strict=True):
                chosen = [samples[order[row]] for row in rows]
                images = self._images(chosen, lambda pixels, index: self._augmented(pixels, epoch, index))
                labels = torch.tensor([sample.label for sample in chosen], dtype=torch.int64)
                yield Batch((images,), labels.to(self._world.device), size)

        return batches

    def _augmented(self, pixels: Pixels, epoch: int, index: int) -> Pixels:
        random = np.random.default_rng([self._hyperparameters.seed, epoch, index])
        return augmented_view(pixels, self._preprocessing, random=random)

    def _images(self, samples: Sequence[Sample], view: Callable[[Pixels, int], Pixels]) -> torch.Tensor:
        """Decode pictures with the thread pool: (N, crop, crop, 3) uint8 on this rank's device."""

        def load(sample: Sample) -> Pixels:
            try:
                picture = decode(sample.data, minimum_side=self._preprocessing.resize)
                return view(picture.pixels, sample.index)
            except BadPicture as error:
                raise TrainingFailure(f"image {sample.index} of class {sample.label} is corrupt: {error}") from error

        side = self._preprocessing.crop
        views = list(self._pool.map(load, samples))
        stacked = np.stack(views) if views else np.zeros((0, side, side, 3), np.uint8)
        return torch.from_numpy(stacked).to(self._world.device, non_blocking=True)


def network_optimizer(classifier: Classifier, hyperparameters: Hyperparameters) -> AdamW:
    """Return AdamW for all weights of the network."""
    rate, decay = hyperparameters.finetune_learning_rate, hyperparameters.weight_decay
    return AdamW(classifier.parameters(), learning_rate=rate, weight_decay=decay)


def _split(count: int, steps: int) -> list[range]:
    """Divide `count` rows into `steps` ranges whose sizes differ by one at most."""
    edges = [count * step // steps for step in range(steps + 1)]
    return [range(low, high) for low, high in pairwise(edges)]
