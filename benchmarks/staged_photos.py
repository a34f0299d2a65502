"""Stage a zip of photos for the training benchmarks, as folders for the reference loop and as shards for ours.

Both have the same JPEG bytes (shortest side 256 px). If a benchmark needs more pictures than the zip has, the training
photos are repeated under new indices, which cost the same to decode and to embed.
"""

import hashlib
import io
import json
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
SIDE = 256
SHARDS = 8


@dataclass(frozen=True)
class Photo:
    """One staged picture."""

    split: str
    label: str
    data: bytes


def read_zip(path: Path) -> list[Photo]:
    """Return every JPEG of `[root/]{train,valid,test}/{class}/`, upright and with a shortest side of 256 px."""
    photos = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            parts = name.split("/")
            if name.endswith(".jpg") and parts[-3] in SPLITS:
                photos.append(Photo(SPLITS[parts[-3]], parts[-2], _staged(archive.read(name))))
    return photos


def _staged(data: bytes) -> bytes:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    scale = SIDE / min(image.size)
    if scale < 1:
        width, height = (max(SIDE, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def repeated(photos: list[Photo], images: int) -> list[Photo]:
    """Return `images` photos: the given ones, followed by repeated training photos."""
    training = [photo for photo in photos if photo.split == "train"]
    missing = max(0, images - len(photos))
    return photos + [training[number % len(training)] for number in range(missing)]


def write_folders(photos: list[Photo], root: Path) -> None:
    """Write the photos as `root/{split}/{class}/{n}.jpg`, the layout that ImageFolder reads."""
    for number, photo in enumerate(photos):
        folder = root / photo.split / photo.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:08d}.jpg").write_bytes(photo.data)


def write_shards(photos: list[Photo], root: Path) -> None:
    """Write `root/{split}/shard-*.tar` and `root/manifest/manifest.json`, the layout that training reads."""
    classes = sorted({photo.label for photo in photos})
    manifest: dict[str, Any] = {"format": 1, "digest": "0" * 64, "name": "benchmark", "classes": classes}
    manifest |= {"counts": {}, "splits": {}}
    for split in ("train", "validation", "test"):
        rows = [photo for photo in photos if photo.split == split]
        counts = Counter(photo.label for photo in rows)
        manifest["counts"][split] = {label: counts[label] for label in classes}
        manifest["splits"][split] = _write_split(rows, root / split, classes)
    (root / "manifest").mkdir(parents=True)
    (root / "manifest" / "manifest.json").write_text(json.dumps(manifest))


def _write_split(rows: list[Photo], folder: Path, classes: list[str]) -> list[dict[str, Any]]:
    folder.mkdir(parents=True)
    written = []
    for shard in range(min(SHARDS, len(rows))):
        path = folder / f"shard-{shard:05d}.tar"
        with tarfile.open(path, "w") as archive:
            for index in range(shard, len(rows), SHARDS):
                member = tarfile.TarInfo(f"{classes.index(rows[index].label):05d}/{index:08d}.jpg")
                member.size = len(rows[index].data)
                archive.addfile(member, io.BytesIO(rows[index].data))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        images = len(range(shard, len(rows), SHARDS))
        written.append({"key": f"{path.name}", "sha256": digest, "size_bytes": path.stat().st_size, "images": images})
    return written


def channels(root: Path, model: Path, weights: Path | None) -> list[str]:
    """Return the folder arguments of training.train."""
    given = {name: root / name for name in ("train", "validation", "test", "manifest")}
    given |= {"model-dir": model, "output-dir": model.parent / "output"} | ({"weights": weights} if weights else {})
    return [text for name, path in given.items() for text in (f"--{name}", str(path))]
