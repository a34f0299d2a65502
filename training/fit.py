"""The epoch loop that trains both the head on embeddings and the whole network.

It supports DDP, early stopping, restoring the best weights, and resuming from a checkpoint. The gradient of a step is
that of the whole global batch, however many ranks share it. Order and dropout depend only on (seed, epoch). One host
and n hosts therefore compute the same steps, up to the order of summation. Where rank 0 trains alone, the others get no
batches and meet it after each epoch, so that all end together.
"""

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from training.adamw import AdamW
from training.checkpoint import FitCheckpoint, Saved, Tensors
from training.distributed import World
from training.failures import Interrupted, TrainingFailure

_DIVERGED_FACTOR = 1000.0  # times the loss of guessing; only a diverged run exceeds it


@dataclass(frozen=True)
class Metrics:
    """Mean loss and accuracy over `images` pictures."""

    loss: float
    accuracy: float
    images: int


@dataclass(frozen=True)
class Batch:
    """This rank's rows (possibly none) of one global batch of `global_size` rows."""

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    global_size: int


@dataclass(frozen=True)
class Schedule:
    """Training stops after `epochs`, or after `patience` epochs without a lower validation loss."""

    epochs: int
    patience: int


@dataclass(frozen=True)
class Epoch:
    """A point of the learning curve: the mean loss over the rows of an epoch, and validation after it."""

    train_loss: float
    validation: Metrics


@dataclass(frozen=True)
class FitResult:
    """The validation metrics of the restored weights, the epoch they come from, and the learning curve."""

    validation: Metrics
    best_epoch: int
    curve: tuple[Epoch, ...]

    @property
    def losses(self) -> tuple[float, ...]:
        """The validation loss after each epoch."""
        return tuple(epoch.validation.loss for epoch in self.curve)

    @property
    def epochs(self) -> int:
        """The number of epochs run."""
        return len(self.curve)


@dataclass
class _Progress:
    curve: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    best: Metrics | None = None

    @property
    def epoch(self) -> int:
        return len(self.curve)


class Fit:
    """Trains one model; `run` leaves the best weights in the model."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: AdamW,
        *,
        world: World,
        checkpoint: FitCheckpoint,
        interrupted: threading.Event,
        say: Callable[[str], None],
        classes: int,
        label_smoothing: float = 0.0,
        is_bf16: bool = False,
        shares_batches: bool = True,
    ) -> None:
        """`shares_batches`: each rank has a part of each batch; without, rank 0 has all of them."""
        self._model = model
        self._optimizer = optimizer
        self._world = world
        self._checkpoint = checkpoint
        self._interrupted = interrupted
        self._say = say
        self._loss_limit = _DIVERGED_FACTOR * math.log(max(classes, 3))
        self._label_smoothing = label_smoothing
        self._is_bf16 = is_bf16
        self._sharing = world.size if shares_batches else 1
        self._best_state: Tensors = {}
        self._at = _Progress()

    def run(
        self,
        schedule: Schedule,
        *,
        batches: Callable[[int], Iterable[Batch]],
        evaluate: Callable[[], Metrics],
        baseline: Metrics | None = None,
    ) -> FitResult:
        """Train until the schedule ends.

        `baseline` are the metrics of the present weights, which are kept if no epoch is better.

        Raises:
            TrainingFailure: the loss is NaN, infinite or has exploded.
            Interrupted: a rank received SIGTERM; rank 0 has written a checkpoint if there is a folder for it.
        """
        self._start_or_resume(baseline)
        parallel = self._distributed_model()
        while self._at.epoch < schedule.epochs and self._at.epoch - self._at.best_epoch < schedule.patience:
            epoch = self._at.epoch + 1
            train_loss, is_interrupted = self._train_epoch(parallel, batches(epoch))
            validation = evaluate()
            self._check_losses(epoch, train_loss, validation)
            self._finish_epoch(epoch, train_loss, validation)
            self._save_checkpoint(is_interrupted=is_interrupted)
        self._model.load_state_dict(self._best_state)
        assert self._at.best is not None  # at least one epoch ran, or a baseline was given
        return FitResult(self._at.best, self._at.best_epoch, self._at.curve)

    # --- one epoch ----------------------------------------------------------------------------------------------------

    def _train_epoch(self, parallel: nn.Module, batches: Iterable[Batch]) -> tuple[float, bool]:
        """Run one epoch; return the mean loss over all ranks' rows, and whether any rank was interrupted."""
        parallel.train()
        total, rows = 0.0, 0
        for batch in batches:
            total += self._step(parallel, batch)
            rows += len(batch.labels)
        sums = torch.tensor([total, rows, self._interrupted.is_set()], dtype=torch.float64)
        total, rows, interruptions = self._world.sum(sums).tolist()
        return total / max(rows, 1), interruptions > 0

    def _step(self, parallel: nn.Module, batch: Batch) -> float:
        with torch.autocast(self._world.device.type, torch.bfloat16, enabled=self._is_bf16):
            logits = parallel(*batch.inputs)
        loss = cross_entropy(
            logits if logits.dtype == torch.float64 else logits.float(),
            batch.labels,
            reduction="sum",
            label_smoothing=self._label_smoothing,
        )
        self._optimizer.zero_grad()
        scaled = loss * self._sharing / batch.global_size  # DDP takes the mean over ranks
        scaled.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.item()

    def _check_losses(self, epoch: int, train_loss: float, validation: Metrics) -> None:
        for name, loss in (("training", train_loss), ("validation", validation.loss)):
            if not math.isfinite(loss) or loss > self._loss_limit:
                reason = "is not finite" if not math.isfinite(loss) else "has exploded"
                raise TrainingFailure(f"the {name} loss {reason} at epoch {epoch} ({loss:g}): lower the learning rate")

    def _finish_epoch(self, epoch: int, train_loss: float, validation: Metrics) -> None:
        self._at.curve = (*self._at.curve, Epoch(train_loss, validation))
        if self._at.best is None or validation.loss < self._at.best.loss:
            self._at.best, self._at.best_epoch = validation, epoch
            self._best_state = copied(self._model)
        if self._world.is_first:
            self._say(
                f"epoch={epoch} train_loss={train_loss:.6f} validation_loss={validation.loss:.6f} "
                f"validation_accuracy={validation.accuracy:.4f} validation_images={validation.images}"
            )

    def _distributed_model(self) -> nn.Module:
        if self._sharing == 1:
            return self._model
        devices = [self._world.device.index] if self._world.device.type == "cuda" else None
        return DistributedDataParallel(self._model, device_ids=devices)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _start_or_resume(self, baseline: Metrics | None) -> None:
        """Start from the present weights, or resume from rank 0's checkpoint."""
        self._at = _Progress(best=baseline)
        self._best_state = copied(self._model)
        saved = self._world.broadcast(self._checkpoint.load)
        if saved is not None:
            self._restore(saved)
            if self._world.is_first:
                self._say(f"resuming from the checkpoint after epoch {self._at.epoch}")

    def _save_checkpoint(self, *, is_interrupted: bool) -> None:
        is_saved = False
        if self._world.is_first and (is_interrupted or self._checkpoint.is_due):
            is_saved = self._checkpoint.save(self._tensors(), asdict(self._at))
        if is_interrupted:
            kept = f"the checkpoint is {self._checkpoint.path}" if is_saved else "this rank saved no checkpoint"
            raise Interrupted(f"stopped by SIGTERM after epoch {self._at.epoch}; {kept}")

    def _tensors(self) -> Tensors:
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best_state.items()}
        tensors |= {f"optimizer.{name}": value for name, value in self._optimizer.state.items()}
        return {name: tensor.clone() for name, tensor in tensors.items()}  # safetensors refuses shared memory

    def _restore(self, saved: Saved) -> None:
        self._model.load_state_dict(_with_prefix("model.", saved.tensors))
        self._best_state = _with_prefix("best.", saved.tensors)
        self._optimizer.restore(_with_prefix("optimizer.", saved.tensors))
        facts = saved.facts
        best = facts["best"] and Metrics(**facts["best"])
        curve = (Epoch(epoch["train_loss"], Metrics(**epoch["validation"])) for epoch in facts["curve"])
        self._at = _Progress(tuple(curve), facts["best_epoch"], best)


def copied(model: nn.Module) -> Tensors:
    """Return copies of a model's weights by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def measure(logits_and_labels: Iterable[tuple[torch.Tensor, torch.Tensor]], world: World) -> Metrics:
    """Return the metrics over the rows of all ranks; each pair is (n, classes) logits and (n,) labels."""
    sums = torch.zeros(3, dtype=torch.float64)
    for logits, labels in logits_and_labels:
        loss = cross_entropy(logits.double(), labels, reduction="sum")
        correct = (logits.argmax(1) == labels).sum()
        sums += torch.tensor([loss.item(), correct.item(), len(labels)], dtype=torch.float64)
    loss_sum, correct_sum, images = world.sum(sums).tolist()
    return Metrics(loss_sum / max(images, 1), correct_sum / max(images, 1), int(images))
