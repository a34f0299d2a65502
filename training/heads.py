"""The head on embeddings: batches of stored views, in float64 so that 1 and n hosts end within 1e-5 of each other.

Float64 costs little (a head is 0.3 M weights) and keeps Adam, which divides by tiny numbers, from magnifying the
rounding that differs with the number of ranks.
"""

from collections.abc import Callable, Iterator

import torch

from training.config import Hyperparameters
from training.distributed import World
from training.embed import Embeddings
from training.fit import Batch, Metrics, measure
from training.model import HEAD_WIDTH, Head

_EVALUATION_ROWS = 4096


def new_head(train: Embeddings, classes: int, hyperparameters: Hyperparameters, world: World) -> Head:
    """A seeded head in float64 on this rank's device, standardised by every stored view of the training split."""
    torch.manual_seed(hyperparameters.seed)
    head = Head(train.features.shape[2], classes).double()
    head.standardise(train.features.flatten(0, 1).double())
    return head.to(world.device)


def head_batches(train: Embeddings, hyperparameters: Hyperparameters, world: World) -> Callable[[int], Iterator[Batch]]:
    """Batches by epoch: every stored view once, shuffled by (seed, epoch); each rank takes a stride of each batch."""
    features = train.features.flatten(0, 1).double().to(world.device)  # (N * views, width)
    labels = train.labels.repeat_interleave(train.features.shape[1]).to(world.device)
    keep = 1 - hyperparameters.dropout

    def batches(epoch: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(hyperparameters.seed * 1_000_003 + epoch)
        for rows in torch.split(torch.randperm(len(labels), generator=generator), hyperparameters.batch_size):
            masks = torch.rand(len(rows), HEAD_WIDTH, generator=generator, dtype=torch.float64) < keep
            own = slice(world.rank, None, world.size)
            chosen = rows[own].to(world.device)
            mask = (masks[own] / keep).to(world.device)
            yield Batch((features[chosen], mask), labels[chosen], len(rows))

    return batches


def evaluate_head(head: Head, split: Embeddings, world: World) -> Metrics:
    """Metrics on the plain view of a split, each rank a stride of the rows."""
    own = slice(world.rank, None, world.size)
    features, labels = split.features[own, 0], split.labels[own]

    @torch.no_grad()
    def logits() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        head.eval()
        for rows in torch.split(torch.arange(len(labels)), _EVALUATION_ROWS):
            yield head(features[rows].double().to(world.device)).cpu(), labels[rows]

    return measure(logits(), world)
