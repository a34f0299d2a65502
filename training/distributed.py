"""One process or n ranks, the same code: rank, device and the few collectives training needs.

gloo on CPU, NCCL on GPU, no process group for a single process. Every collective has a timeout, and a failure on one
rank is told to all, so that a gang ends together with the true cause instead of hanging.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from training.failures import Interrupted, TrainingFailure

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This rank's place among `size` ranks, `local_size` of which share this host."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather_objects(self, value: T) -> list[T]:
        """Every rank's small value, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def first(self, make: Callable[[], T]) -> T:
        """What `make` gives on rank 0, on every rank."""
        if self.size == 1:
            return make()
        values = [make() if self.is_first else None]
        dist.broadcast_object_list(values, src=0)
        return cast(T, values[0])

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Elementwise sum over ranks, on the CPU."""
        if self.size == 1:
            return values
        total = values.to(self.device)
        dist.all_reduce(total)
        return total.cpu()

    def gather_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Concatenate each rank's rows, (n_r, ...) -> (sum of n_r, ...), in rank order, on every rank's CPU."""
        if self.size == 1:
            return rows
        counts = self.gather_objects(len(rows))
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        padded = padded.to(self.device)
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count].cpu() for part, count in zip(parts, counts, strict=True)])

    def together(self, work: Callable[[], T]) -> T:
        """Run `work` on every rank; if it fails on one, fail on all with that rank's message.

        Raises:
            TrainingFailure, Interrupted: whichever any rank met, failures first.
        """
        outcomes: list[T] = []
        problem: TrainingFailure | Interrupted | None = None
        try:
            outcomes.append(work())
        except (TrainingFailure, Interrupted) as met:
            problem = met
        problems = [found for found in self.gather_objects(problem) if found is not None]
        if problems:
            raise min(problems, key=lambda problem: isinstance(problem, Interrupted))
        return outcomes[0]


@contextmanager
def joined(env: Mapping[str, str], timeout_seconds: float) -> Iterator[World]:
    """Join the ranks that torchrun started (`RANK`, `WORLD_SIZE`, ...); a plain process is a world of one."""
    size, local_rank = int(env.get("WORLD_SIZE", "1")), int(env.get("LOCAL_RANK", "0"))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    host = env.get("SM_CURRENT_HOST", socket.gethostname())
    world = World(int(env.get("RANK", "0")), size, local_rank, int(env.get("LOCAL_WORLD_SIZE", "1")), host, device)
    if size == 1:
        yield world
        return
    dist.init_process_group("nccl" if has_gpu else "gloo", timeout=timedelta(seconds=timeout_seconds))
    try:
        yield world
    finally:
        dist.destroy_process_group()


def usable_threads(world: World, asked: int | None) -> int:
    """This rank's share of the cores that this process may run on, at least one."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return asked or max(1, cores // world.local_size)
