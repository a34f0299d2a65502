"""What a model says of each picture of the test split, kept in its archive so that others can count for themselves."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from training.distributed import World

FILE = "predictions.safetensors"

LogitsAndLabels = tuple[torch.Tensor, torch.Tensor]
"""Logits (n, classes) and labels (n,) of the same pictures."""


@dataclass(frozen=True)
class Predictions:
    """Of N pictures, sorted by `index`, (N,): `labels` and `predicted`, (N,), and `scores`, (N, classes) float32.

    `index` is the number in a picture's name in its shard. `predicted` is the class of the highest logit; two scores,
    which are probabilities, may be equal where their logits differ.
    """

    index: torch.Tensor
    labels: torch.Tensor
    predicted: torch.Tensor
    scores: torch.Tensor

    @staticmethod
    def of(index: torch.Tensor, found: Iterable[LogitsAndLabels], classes: int, world: World) -> "Predictions":
        """Gather the rows of all ranks; `index` and `found` are in the same order on each."""
        pairs = [(torch.empty(0, classes), torch.empty(0, dtype=torch.int64)), *found]
        logits = torch.cat([logits.double() for logits, _ in pairs])
        labels = torch.cat([labels for _, labels in pairs])
        columns = (index, labels, logits.argmax(1), torch.softmax(logits, 1).float())
        gathered = [world.gather_rows(column) for column in columns]
        order = torch.argsort(gathered[0])
        return Predictions(*(column[order] for column in gathered))

    def save(self, folder: Path) -> Path:
        """Write predictions.safetensors into a folder and return its path."""
        save_file({name: value.contiguous() for name, value in vars(self).items()}, folder / FILE)
        return folder / FILE
