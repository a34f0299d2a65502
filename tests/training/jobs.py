"""Training jobs as commands: their arguments, and train.py in a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.training.datasets import SMALL, Dataset

ROOT = Path(__file__).resolve().parents[2]


def arguments(dataset: Dataset, weights: Path, folder: Path, *more: str) -> list[str]:
    """Return the command line of a job equal to `SMALL`; everything it writes is under `folder`."""
    given = {"train": dataset.root / "train", "validation": dataset.root / "validation", "test": dataset.root / "test"}
    given |= {"manifest": dataset.root / "manifest", "weights": weights, "model-dir": folder / "model"}
    given |= {"output-dir": folder / "output"}
    paths = [text for name, path in given.items() for text in (f"--{name}", str(path))]
    small = f"--backbone {SMALL.backbone} --epochs {SMALL.epochs} --views 2 --batch-size 8 --threads 1".split()
    return [*paths, *small, *more]


def start(command: Sequence[str], **env: str) -> subprocess.Popen[str]:
    """Start train.py; its output and errors are one stream."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env}
    script = [sys.executable, str(ROOT / "training" / "train.py"), *command]
    return subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def free_port() -> int:
    """Return a port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def of_host(dataset: Dataset, root: Path, rank: int) -> Dataset:
    """Make one host's channels as ShardedByS3Key does: every second shard, and the whole manifest."""
    for split in ("train", "validation", "test"):
        (root / split).mkdir(parents=True)
        for path in dataset.shards(split)[rank::2]:
            (root / split / path.name).symlink_to(path)
    (root / "manifest").symlink_to(dataset.root / "manifest")
    return Dataset(root)
