"""Train the classifier's head on stored embeddings, in float64.

Rounding differs with the number of ranks, and Adam, which divides by tiny numbers, magnifies it. In float64 the weights
from 1 and n hosts still agree within 1e-5. It costs little, because a head has about 0.3 M weights.
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
from training.model import HEAD_WIDTH, Head, Standardisation

_EVALUATION_ROWS = 4096


@dataclass(frozen=True)
class HeadTask:
    """The seeded float64 head on this rank's device, and the standardised rows on which it is trained."""

    head: Head
    standardisation: Standardisation
    rows: torch.Tensor  # (N * views, width) float64
    labels: torch.Tensor  # (N * views,)
    hyperparameters: Hyperparameters
    world: World

    @staticmethod
    def of(train: Embeddings, classes: int, hyperparameters: Hyperparameters, world: World) -> "HeadTask":
        """Standardise every stored view of the training split and initialise the head from the seed."""
        flat = train.features.flatten(0, 1)
        standardisation = Standardisation.of(flat)
        torch.manual_seed(hyperparameters.seed)
        head = Head(flat.shape[1], classes).double().to(world.device)
        rows = standardisation.apply(flat).to(world.device)
        labels = train.labels.repeat_interleave(train.features.shape[1]).to(world.device)
        return HeadTask(head, standardisation, rows, labels, hyperparameters, world)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every stored view once, shuffled by (seed, epoch); each rank takes a stride of each batch."""
        keep = 1 - self.hyperparameters.dropout
        generator = torch.Generator().manual_seed(self.hyperparameters.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        masks = torch.rand(len(order), HEAD_WIDTH, generator=generator, dtype=torch.float64).lt(keep).double() / keep
        order, masks = order.to(self.world.device), masks.to(self.world.device)
        size = self.hyperparameters.batch_size
        for start in range(0, len(order), size):
            own = slice(start + self.world.rank, start + size, self.world.size)
            chosen = order[own]
            yield Batch((self.rows[chosen], masks[own]), self.labels[chosen], min(size, len(order) - start))

    def evaluator(self, split: Embeddings) -> Callable[[], Metrics]:
        """Return a function that measures the head on a split's evaluation views, each rank on a stride of the rows."""
        own = slice(self.world.rank, None, self.world.size)
        rows = self.standardisation.apply(split.features[own, 0]).to(self.world.device)
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
        return deepcopy(self.head).cpu().folded(self.standardisation)
