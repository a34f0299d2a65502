"""The state of a training job that every stage uses: configuration, rank, manifest, log and timings."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from training.config import Config, views_of_each
from training.distributed import World, join_ranks, threads_per_rank
from training.failures import Interrupted
from training.shards import Manifest, read_manifest


@dataclass
class Job:
    """One training job on this rank; `seconds` has the duration of each finished stage."""

    config: Config
    world: World
    manifest: Manifest
    interrupted: threading.Event
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def views(self) -> int:
        """The number of views of each training picture that are embedded."""
        return views_of_each(self.config.hyperparameters, self.manifest.images("train"))

    def say(self, message: str) -> None:
        """Print a line that begins with this rank's host and number."""
        print_line(f"host={self.world.host} rank={self.world.rank} {message}")

    def check_interrupted(self) -> None:
        """Raise if this rank received SIGTERM while it embeds.

        Raises:
            Interrupted: the message says where the finished shards are.
        """
        if self.interrupted.is_set():
            folder = self.config.folders.checkpoint
            stored = f"the finished shards are in {folder}" if folder else "the finished shards were not stored"
            raise Interrupted(f"stopped by SIGTERM while embedding; {stored}")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the duration of the block to `seconds[name]`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)


def run_job(config: Config, interrupted: threading.Event, work: Callable[[Job], None]) -> None:
    """Join the other ranks, read the manifest, and do the work, whose duration is told.

    Raises:
        TrainingFailure, Interrupted: the ranks do not meet, the manifest is none, or as `work`.
    """
    with join_ranks(os.environ, config.collective_timeout_seconds) as world:
        threads = threads_per_rank(world, config.threads)
        torch.set_num_threads(threads)
        manifest = world.run_on_every_rank(lambda: read_manifest(config.folders.manifest))
        job = Job(config, world, manifest, interrupted, threads)
        started = time.perf_counter()
        work(job)
        job.say(f"done in {time.perf_counter() - started:.1f} s: {json.dumps(job.seconds)}")


def print_line(line: str) -> None:
    """Print a line in one write, so that the lines of ranks that share a log do not mix."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
