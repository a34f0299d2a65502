"""The epoch loop, for the head on embeddings and for the whole network alike: DDP, early stop, best weights, resumable.

The gradient of a step is that of the whole global batch however many ranks share it, and order and dropout are drawn
from (seed, epoch) alone: 1 and n hosts follow the same path up to summation order.
"""

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint import FitCheckpoint, Saved, Tensors
from training.distributed import World
from training.failures import Interrupted, TrainingFailure

_EXPLODED = 1000.0  # times the loss of guessing; only a diverged run gets there


@dataclass(frozen=True)
class Metrics:
    """Per-sample means over `images` pictures."""

    loss: float
    accuracy: float
    images: int


@dataclass(frozen=True)
class Batch:
    """This rank's rows of one global batch of `global_size` rows (it may have none)."""

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    global_size: int


@dataclass(frozen=True)
class Schedule:
    """When to stop: after `epochs`, or after `patience` epochs without a lower validation loss."""

    epochs: int
    patience: int


@dataclass(frozen=True)
class Fitted:
    """The validation metrics of the restored weights, the epoch they come from, and how many epochs were run."""

    validation: Metrics
    best_epoch: int
    epochs: int


@dataclass
class _Progress:
    epoch: int = 0
    best_epoch: int = 0
    best: Metrics | None = None


class Fit:
    """One model, its optimiser and how far the fit has come; `run` gives the model its best weights."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        world: World,
        checkpoint: FitCheckpoint,
        interrupted: threading.Event,
        say: Callable[[str], None],
        classes: int,
        is_bf16: bool = False,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._world = world
        self._checkpoint = checkpoint
        self._interrupted = interrupted
        self._say = say
        self._loss_limit = _EXPLODED * math.log(max(classes, 3))
        self._is_bf16 = is_bf16
        self._best_state: Tensors = {}
        self._at = _Progress()

    def run(
        self,
        schedule: Schedule,
        *,
        batches: Callable[[int], Iterable[Batch]],
        evaluate: Callable[[], Metrics],
        baseline: Metrics | None = None,
    ) -> Fitted:
        """Train until the schedule ends; `baseline` = metrics of the present weights, kept if nothing beats them.

        Raises:
            TrainingFailure: the loss is NaN, infinite or exploding. Interrupted: SIGTERM came; the state is saved.
        """
        self._start(baseline)
        parallel = self._parallel()
        while self._at.epoch < schedule.epochs and self._at.epoch - self._at.best_epoch < schedule.patience:
            epoch = self._at.epoch + 1
            train_loss, is_interrupted = self._train_epoch(parallel, batches(epoch))
            validation = evaluate()
            self._judge(epoch, train_loss, validation)
            self._finish_epoch(epoch, train_loss, validation)
            self._keep(is_interrupted=is_interrupted)
        self._model.load_state_dict(self._best_state)
        assert self._at.best is not None  # at least one epoch ran, or a baseline was given
        return Fitted(self._at.best, self._at.best_epoch, self._at.epoch)

    # --- one epoch ----------------------------------------------------------------------------------------------------

    def _train_epoch(self, parallel: nn.Module, batches: Iterable[Batch]) -> tuple[float, bool]:
        """One pass; returns the mean loss over all ranks' rows and whether any rank was told to stop."""
        parallel.train()
        total, rows = 0.0, 0
        for batch in batches:
            total += self._step(parallel, batch)
            rows += len(batch.labels)
        sums = torch.tensor([total, rows, self._interrupted.is_set()], dtype=torch.float64)
        total, rows, stops = self._world.sum(sums).tolist()
        return total / max(rows, 1), stops > 0

    def _step(self, parallel: nn.Module, batch: Batch) -> float:
        with torch.autocast(self._world.device.type, torch.bfloat16, enabled=self._is_bf16):
            logits = parallel(*batch.inputs)
        loss = cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), batch.labels, reduction="sum")
        self._optimizer.zero_grad(set_to_none=True)
        scaled = loss * self._world.size / batch.global_size  # DDP takes the mean over ranks
        scaled.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.item()

    def _judge(self, epoch: int, train_loss: float, validation: Metrics) -> None:
        for name, loss in (("training", train_loss), ("validation", validation.loss)):
            if not math.isfinite(loss) or loss > self._loss_limit:
                reason = "is not finite" if not math.isfinite(loss) else "has exploded"
                raise TrainingFailure(f"the {name} loss {reason} at epoch {epoch} ({loss:g}): lower the learning rate")

    def _finish_epoch(self, epoch: int, train_loss: float, validation: Metrics) -> None:
        self._at.epoch = epoch
        if self._at.best is None or validation.loss < self._at.best.loss:
            self._at.best, self._at.best_epoch = validation, epoch
            self._best_state = _copied(self._model)
        if self._world.is_first:
            self._say(
                f"epoch={epoch} train_loss={train_loss:.6f} validation_loss={validation.loss:.6f} "
                f"validation_accuracy={validation.accuracy:.4f} validation_images={validation.images}"
            )

    def _parallel(self) -> nn.Module:
        if self._world.size == 1:
            return self._model
        devices = [self._world.device.index] if self._world.device.type == "cuda" else None
        return DistributedDataParallel(self._model, device_ids=devices)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _start(self, baseline: Metrics | None) -> None:
        """Begin afresh, or go on from rank 0's checkpoint."""
        self._at = _Progress(best=baseline)
        self._best_state = _copied(self._model)
        saved = self._world.first(self._checkpoint.load)
        if saved is not None:
            self._restore(saved)
            if self._world.is_first:
                self._say(f"resuming from the checkpoint after epoch {self._at.epoch}")

    def _keep(self, *, is_interrupted: bool) -> None:
        is_saved = False
        if self._world.is_first and (is_interrupted or self._checkpoint.is_due):
            is_saved = self._checkpoint.save(self._tensors(), asdict(self._at))
        if is_interrupted:
            kept = f"the checkpoint is {self._checkpoint.path}" if is_saved else "this rank saved no checkpoint"
            raise Interrupted(f"stopped by SIGTERM after epoch {self._at.epoch}; {kept}")

    def _tensors(self) -> Tensors:
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best_state.items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        return {name: tensor.clone() for name, tensor in tensors.items()}  # safetensors refuses shared memory

    def _restore(self, saved: Saved) -> None:
        self._model.load_state_dict(_under("model.", saved.tensors))
        self._best_state = _under("best.", saved.tensors)
        states: dict[int, Tensors] = {}
        for name, value in _under("optimizer.", saved.tensors).items():
            number, _, key = name.partition(".")
            states.setdefault(int(number), {})[key] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        facts = saved.facts
        best = facts["best"] and Metrics(**facts["best"])
        self._at = _Progress(facts["epoch"], facts["best_epoch"], best)


def _copied(model: nn.Module) -> Tensors:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def measure(logits_and_labels: Iterable[tuple[torch.Tensor, torch.Tensor]], world: World) -> Metrics:
    """Loss and accuracy per sample over every rank's rows; each pair is (n, classes) logits and (n,) labels."""
    sums = torch.zeros(3, dtype=torch.float64)
    for logits, labels in logits_and_labels:
        loss = cross_entropy(logits.double(), labels, reduction="sum")
        correct = (logits.argmax(1) == labels).sum()
        sums += torch.tensor([loss.item(), correct.item(), len(labels)], dtype=torch.float64)
    loss_sum, right, images = world.sum(sums).tolist()
    return Metrics(loss_sum / max(images, 1), right / max(images, 1), int(images))
