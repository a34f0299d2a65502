"""Write tiny staged datasets in the format of the staging tasks, and train on them in this process."""

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import ROOT
from training.config import Config, Folders, Hyperparameters
from training.serve import CODE, SOURCES
from training.train import run

CLASSES = ("apple", "moss", "sky")
_COLOURS = {"apple": (200, 40, 40), "moss": (40, 170, 60), "sky": (60, 90, 210), "sand": (200, 180, 120)}
DIGEST = "0123456789abcdef" * 4


def copy_serving_code(folder: Path) -> None:
    """Write the code that a model carries into a folder, as training saves it."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name in CODE:
        (folder / name).write_bytes((ROOT / "training" / SOURCES.get(name, name)).read_bytes())


def picture(label: str, number: int, *, size: tuple[int, int] = (320, 260), quality: int = 92) -> bytes:
    """Return a JPEG of one colour with seeded blobs of noise."""
    random = np.random.default_rng([sorted(_COLOURS).index(label), number])
    noise = Image.fromarray(random.integers(0, 90, (13, 16, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(noise).astype(int) + np.array(_COLOURS[label]) - 45
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@dataclass(frozen=True)
class Dataset:
    """A staged dataset on disk: `root/{train,validation,test}/*.tar` and `root/manifest/manifest.json`."""

    root: Path

    def folders(self, model: Path, *, weights: Path | None = None, checkpoint: Path | None = None) -> Folders:
        return Folders(
            self.root / "train",
            self.root / "validation",
            self.root / "test",
            self.root / "manifest",
            weights,
            model,
            checkpoint,
            model.parent / "output",
        )

    def shards(self, split: str) -> list[Path]:
        return sorted((self.root / split).glob("*.tar"))

    def manifest(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads((self.root / "manifest" / "manifest.json").read_text())
        return fields

    def rewrite(self, fields: Mapping[str, Any]) -> None:
        (self.root / "manifest" / "manifest.json").write_text(json.dumps(fields))


def write_dataset(root: Path, *, classes: tuple[str, ...] = CLASSES, shards: int = 4, **images: int) -> Dataset:
    """Stage `images[split]` pictures of each class, image i in shard i mod `shards`."""
    fields: dict[str, Any] = {"format": 1, "digest": DIGEST, "name": "tiny", "classes": list(classes)}
    fields |= {"counts": {}, "splits": {}, "quarantined": [], "source": {}}
    first = 0
    for split, each in images.items():
        rows = [(index, label, first + index) for index, label in enumerate(sorted(classes * each))]
        first += len(rows)
        fields["counts"][split] = dict.fromkeys(classes, each)
        fields["splits"][split] = _write_split(root / split, rows, classes, shards) if rows else []
    (root / "manifest").mkdir(parents=True)
    dataset = Dataset(root)
    dataset.rewrite(fields)
    return dataset


def _write_split(
    folder: Path, rows: list[tuple[int, str, int]], classes: tuple[str, ...], shards: int
) -> list[dict[str, Any]]:
    folder.mkdir(parents=True)
    shards = min(shards, len(rows))
    for number in range(shards):
        with tarfile.open(folder / f"shard-{number:05d}.tar", "w") as archive:
            for index, label, seed in rows[number::shards]:
                _add(archive, f"{classes.index(label):05d}/{index:08d}.jpg", picture(label, seed))
    paths = sorted(folder.glob("*.tar"))
    return [shard_row(path, len(rows[number::shards])) for number, path in enumerate(paths)]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def shard_row(path: Path, images: int) -> dict[str, Any]:
    """Return the manifest's row for a shard file."""
    data = path.read_bytes()
    key = f"datasets/{DIGEST}/{path.parent.name}/{path.name}"
    return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "images": images}


SMALL = Hyperparameters(backbone="efficientnet_lite0", epochs=6, views=2, batch_size=8)


def configure(folders: Folders, hyperparameters: Hyperparameters = SMALL, **changes: Any) -> Config:
    """Return a configuration for one thread in which a checkpoint is due after every epoch."""
    config = Config(hyperparameters, folders, 1, 60.0, 0.0)
    return replace(config, **changes)


def train_here(folders: Folders, hyperparameters: Hyperparameters = SMALL) -> dict[str, Any]:
    """Train in this process and return meta.json."""
    run(configure(folders, hyperparameters), threading.Event())
    meta: dict[str, Any] = json.loads((folders.model / "meta.json").read_text())
    return meta


@dataclass(frozen=True)
class Trained:
    """A model folder and its meta.json."""

    folder: Path
    meta: Mapping[str, Any]
