"""Let the same training code run as one process or on many ranks: rank, device and the collectives it needs.

CPUs use gloo, GPUs use NCCL, and a single process uses no process group. Every collective has a timeout. When one rank
fails, every rank raises the same error: the job ends with the true cause and does not hang.

Both libraries are told the interface that leads to the other hosts. Without it gloo looks up the host's own name, which
under the SageMaker SDK v3 is `aws` on every host, and then offers the other ranks an address on loopback.
"""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from training.failures import Interrupted, TrainingFailure

T = TypeVar("T")
RESOURCE_CONFIG = Path("/opt/ml/input/config/resourceconfig.json")
ROUTES = Path("/proc/net/route")
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True)
class World:
    """This rank's position among `size` ranks, of which `local_size` run on this host."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes the logs and the model."""
        return self.rank == 0

    def gather_objects(self, value: T) -> list[T]:
        """Return every rank's value on every rank, in rank order; values are pickled, so keep them small."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, make: Callable[[], T]) -> T:
        """Call `make` on rank 0 only and return its result on every rank."""
        if self.size == 1:
            return make()
        values = [make() if self.is_first else None]
        dist.broadcast_object_list(values, src=0)
        return cast(T, values[0])

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the elementwise sum over all ranks, on the CPU."""
        if self.size == 1:
            return values
        total = values.to(self.device)
        dist.all_reduce(total)
        return total.cpu()

    def gather_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Concatenate the rows of all ranks in rank order, on every rank's CPU: (n_r, ...) -> (sum of n_r, ...)."""
        if self.size == 1:
            return rows
        counts = self.gather_objects(len(rows))
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        padded = padded.to(self.device)
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count].cpu() for part, count in zip(parts, counts, strict=True)])

    def run_on_every_rank(self, work: Callable[[], T]) -> T:
        """Run `work` on every rank; if it fails on one rank, raise that rank's error on all.

        Raises:
            TrainingFailure, Interrupted: `work` raised it on some rank; a TrainingFailure takes precedence.
        """
        outcomes: list[T] = []
        problem: TrainingFailure | Interrupted | None = None
        try:
            outcomes.append(work())
        except (TrainingFailure, Interrupted) as error:
            problem = error
        problems = [each for each in self.gather_objects(problem) if each is not None]
        if problems:
            raise min(problems, key=lambda problem: isinstance(problem, Interrupted))
        return outcomes[0]


@contextmanager
def join_ranks(env: MutableMapping[str, str], timeout_seconds: float) -> Iterator[World]:
    """Join the ranks that torchrun started (`RANK`, `WORLD_SIZE`, ...), or the one process of each of the job's hosts.

    `env` is this process's environment. With several ranks it gets the variables that name them and their interface,
    unless it has them.
    """
    env.update(_ranks_of_hosts(env))
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
    interface = interface_to_other_hosts(env)
    for variable in INTERFACE_VARIABLES if interface else ():
        env.setdefault(variable, str(interface))
    dist.init_process_group("nccl" if has_gpu else "gloo", timeout=timedelta(seconds=timeout_seconds))
    try:
        yield world
    finally:
        dist.destroy_process_group()


def _ranks_of_hosts(env: Mapping[str, str]) -> dict[str, str]:
    """Return what torchrun would set for one process a host, from what the SageMaker SDK tells of the hosts.

    torchrun itself would cost each host an import of torch and a process, and starts several processes for GPUs only.
    """
    if "RANK" in env or int(env.get("SM_HOST_COUNT", "1")) == 1:
        return {}
    told = ("SM_CURRENT_HOST_RANK", "SM_HOST_COUNT", "SM_MASTER_ADDR", "SM_MASTER_PORT")
    return dict(zip(("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), (env[name] for name in told), strict=True))


def interface_to_other_hosts(
    env: Mapping[str, str], resource_config: Path = RESOURCE_CONFIG, routes: Path = ROUTES
) -> str | None:
    """Return the interface that SageMaker names for the job's hosts, else that of the default route, else None.

    A name that no interface of this host has does not count: gloo would end the job on it.
    """
    named = env.get("SM_NETWORK_INTERFACE_NAME"), _configured_interface(resource_config), _default_interface(routes)
    present = {name for _, name in socket.if_nameindex()}
    return next((name for name in named if name in present), None)


def _configured_interface(resource_config: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError, ValueError):  # outside SageMaker there is no such file
        name = json.loads(resource_config.read_text()).get("network_interface_name")
        return str(name) if name else None
    return None


def _default_interface(routes: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        rows = [line.split() for line in routes.read_text().splitlines()[1:]]
        return next((row[0] for row in rows if row[1] == "00000000"), None)
    return None


def threads_per_rank(world: World, requested: int | None) -> int:
    """Return `requested` if it is set, else this rank's share of the cores it may run on (at least 1)."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return requested or max(1, cores // world.local_size)
