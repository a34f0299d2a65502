"""Train the classifier's head on stored embeddings: in float64 for the model, in float32 while searching.

Rounding differs with the number of ranks, and Adam, which divides by tiny numbers, magnifies it. In float64 the weights
from 1 and n hosts still agree within 1e-5. It costs little, because a head has about 0.3 M weights. A trial of a search
runs on one rank as a whole, so float32 serves there.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

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
    """A seeded head, and the rows on which it is trained."""

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
        """Yield every stored view once, shuffled by (seed, epoch); each rank takes a stride of each batch.

        Order and dropout are the same in both precisions, so that a trial tells what the fit will do.
        """
        rows, labels, keep = self.data.rows, self.data.labels, 1 - self.hyperparameters.dropout
        generator = torch.Generator().manual_seed(self.hyperparameters.seed * 1_000_003 + epoch)
        order = torch.randperm(len(labels), generator=generator)
        shape = (len(order), self.hyperparameters.head_width)
        masks = torch.rand(shape, generator=generator, dtype=torch.float64).lt(keep).to(rows.dtype) / keep
        order, masks = order.to(rows.device), masks.to(rows.device)
        size = self.hyperparameters.batch_size
        for start in range(0, len(order), size):
            own = slice(start + self.world.rank, start + size, self.world.size)
            chosen = order[own]
            yield Batch((rows[chosen], masks[own]), labels[chosen], min(size, len(order) - start))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW for the head's weights."""
        chosen = self.hyperparameters
        return torch.optim.AdamW(
            self.head.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay, fused=True
        )

    def evaluator(self, split: Embeddings) -> Callable[[], Metrics]:
        """Return a function that measures the head on a split's evaluation views, each rank on a stride of the rows."""
        own = slice(self.world.rank, None, self.world.size)
        rows = self.data.alike(split.features[own, 0])
        labels = split.labels[own]

        @torch.no_grad()
        def logits() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            self.head.eval()
            for start in range(0, len(labels), _EVALUATION_ROWS):
                chosen = slice(start, start + _EVALUATION_ROWS)
                yield self.head(rows[chosen]).cpu(), labels[chosen]

        return lambda: measure(logits(), self.world)

    def folded(self) -> nn.Sequential:
        """Return the head that is saved: Linear -> ReLU -> Linear on unstandardised features, float32, on the CPU."""
        return deepcopy(self.head).cpu().folded(self.data.standardisation)
