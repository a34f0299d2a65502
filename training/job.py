"""The state of a training job that every stage uses: configuration, rank, manifest, log and timings."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from training.config import Config, views_of_each
from training.distributed import World
from training.failures import Interrupted
from training.shards import Manifest


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


def print_line(line: str) -> None:
    """Print a line in one write, so that the lines of ranks that share a log do not mix."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
