"""Build small datasets for the tests of staging: real JPEGs of different colours, in folders and zips."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """Return an RGB picture that differs for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Return an image's bytes in one of Pillow's formats."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(seed: int, width: int = 40, height: int = 30) -> bytes:
    """Return a baseline JPEG that differs for each seed."""
    return encoded(picture(seed, width, height), quality=90, subsampling=2)


def good_files(root: str = "photos/", *, classes: tuple[str, ...] = ("cat", "dog"), train: int = 3) -> dict[str, bytes]:
    """Return a good dataset as name → bytes: each class has `train` train images and one image in each other split."""
    files: dict[str, bytes] = {}
    for class_name in classes:
        for split, count in (("train", train), ("valid", 1), ("test", 1)):
            for number in range(count):
                files[f"{root}{split}/{class_name}/{number}.jpg"] = jpeg(len(files))
    return files


def write_zip(path: Path, files: Mapping[str, bytes], *, deflate: bool = False) -> Path:
    """Write a zip of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write these files below a folder."""
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def tar_of(files: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """Return a tar of these files, and of further members without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in more:
            tar.addfile(member)
    return out.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()
