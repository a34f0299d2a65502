"""Train the classifier's head on stored embeddings: in float64 for the model, in float32 while searching.

Rounding differs between processors, and Adam, which divides by tiny numbers, magnifies it. In float64 the weights still
agree within 1e-5. It costs little, because a head has about 0.3 M weights. For the same reason rank 0 trains it alone:
a step takes 2 ms, and ranks that shared it would spend more on sending gradients. A trial of a search need not agree
with anything, so float32 serves there.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from training.adamw import AdamW
from training.config import Hyperparameters
from training.distributed import World
from training.embed import Embeddings
from training.fit import Batch, Metrics, measure
from training.model import Head, Standardisation

_EVALUATION_ROWS = 4096


@dataclass(frozen=True)
class HeadRows:
    """Every stored view of the training split, standardised, on one device, in the precision of the heads on it.

    `rows` is (N * views, width), `labels` (N * views,).
    """

    standardisation: Standardisation
    rows: torch.Tensor
    labels: torch.Tensor

    @staticmethod
    def of(train: Embeddings, device: torch.device, precision: torch.dtype = torch.float64) -> "HeadRows":
        """Standardise the training split's features."""
        flat = train.features.flatten(0, 1)
        standardisation = Standardisation.of(flat)
        rows = standardisation.apply(flat).to(device, precision)
        return HeadRows(standardisation, rows, train.labels.repeat_interleave(train.features.shape[1]).to(device))

    def alike(self, features: torch.Tensor) -> torch.Tensor:
        """Return other features, (n, width), standardised like these rows, in their precision and on their device."""
        return self.standardisation.apply(features).to(self.rows.device, self.rows.dtype)


@dataclass(frozen=True)
class HeadTask:
    """A seeded head, and the rows on which rank 0 trains it; the other ranks get no rows."""

    head: Head
    data: HeadRows
    hyperparameters: Hyperparameters
    world: World

    @staticmethod
    def of(data: HeadRows, classes: int, hyperparameters: Hyperparameters, world: World) -> "HeadTask":
        """Initialise the head from the seed."""
        torch.manual_seed(hyperparameters.seed)
        head = Head(data.rows.shape[1], classes, hyperparameters.head_width).double()
        return HeadTask(head.to(data.rows.device, data.rows.dtype), data, hyperparameters, world)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every stored view once, shuffled by (seed, epoch), on rank 0.

        Order and dropout are the same in both precisions, so that a trial tells what the fit will do.
        """
        if not self.world.is_first:
            return
        rows, labels, keep = self.data.rows, self.data.labels, 1 - self.hyperparameters.dropout
        generator = torch.Generator().manual_seed(self.hyperparameters.seed * 1_000_003 + epoch)
        order = torch.randperm(len(labels), generator=generator)
        shape = (len(order), self.hyperparameters.head_width)
        masks = torch.rand(shape, generator=generator, dtype=torch.float64).lt(keep).to(rows.dtype) / keep
        order, masks = order.to(rows.device), masks.to(rows.device)
        size = self.hyperparameters.batch_size
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield Batch((rows[chosen], masks[start : start + size]), labels[chosen], len(chosen))

    def optimizer(self) -> AdamW:
        """Return AdamW for the head's weights."""
        chosen = self.hyperparameters
        return AdamW(self.head.parameters(), learning_rate=chosen.learning_rate, weight_decay=chosen.weight_decay)

    def evaluator(self, split: Embeddings) -> Callable[[], Metrics]:
        """Return a function that measures the head on a split's evaluation views, on rank 0 for all ranks."""
        rows, labels = self._evaluated(split)
        return lambda: measure(self._logits(rows, labels), self.world)

    def logits(self, split: Embeddings) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield logits (n, classes) and labels (n,) of some of a split's pictures after others, on rank 0 of all."""
        return self._logits(*self._evaluated(split))

    def _evaluated(self, split: Embeddings) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(split.labels) if self.world.is_first else 0
        return self.data.alike(split.features[:count, 0]), split.labels[:count]

    @torch.no_grad()
    def _logits(self, rows: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.head.eval()
        for start in range(0, len(labels), _EVALUATION_ROWS):
            chosen = slice(start, start + _EVALUATION_ROWS)
            yield self.head(rows[chosen]).cpu(), labels[chosen]

    @torch.no_grad()
    def sample_losses(self, split: Embeddings) -> tuple[float, ...]:
        """Return the loss of each of a split's pictures, in their order."""
        logits = self.head.eval()(self.data.alike(split.features[:, 0])).double().cpu()
        return tuple(cross_entropy(logits, split.labels, reduction="none").tolist())

    def folded(self) -> nn.Sequential:
        """Return the head that is saved: Linear -> ReLU -> Linear on unstandardised features, float32, on the CPU."""
        return deepcopy(self.head).cpu().folded(self.data.standardisation)
