"""Write the sample dataset: scikit-learn's handwritten digits as JPEGs in the expected layout.

The 1,797 images of 10 classes are part of an installed package, so the demo needs no network. The result is
deterministic: the position within the class determines the split (5 of 7 train, 1 validation, 1 test), and exact copies
are dropped.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from tasks.run.disk import disk_boundary
from tasks.run.errors import DiskFailed, SourceRefused
from tasks.run.own_files import remove_tree
from tasks.run.record_store import write_atomically
from tasks.run.waiting import say

NAME = "sample"
VERSION = "digits-1"
SIDE_PX = 160
_FOLDERS = ("train", "train", "train", "train", "train", "valid", "test")


def make_sample(home: Path) -> Path:
    """Return the sample's folder below `home`; write it first, atomically, if it does not exist.

    Raises:
        SourceRefused: scikit-learn is not installed.
        DiskFailed: the folder cannot be written.
    """
    folder = home / "sample" / VERSION
    digest = folder.with_name(f"{VERSION}.sha256")
    if folder.is_dir() and not (digest.is_file() and digest.read_bytes() == _tree_digest(folder).encode()):
        say(f"{folder} is incomplete or damaged, and it is written anew")
        remove_tree(folder)
    if not folder.is_dir():
        with disk_boundary("sample", folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{VERSION}-", dir=folder.parent))
        try:
            with disk_boundary("sample", partial):
                _write(partial)
            write_atomically(digest, _tree_digest(partial).encode())  # first: another process may look at the folder
            partial.rename(folder)
        except (OSError, DiskFailed):
            shutil.rmtree(partial)
            if not folder.is_dir():  # if it exists now, another process has written it
                raise
    return folder


def _tree_digest(folder: Path) -> str:
    """Return the sha256 of the names and bytes of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.jpg")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _write(folder: Path) -> None:
    seen: set[bytes] = set()
    counts: Counter[int] = Counter()
    for row in read_digits():
        if row.tobytes() in seen:
            continue
        seen.add(row.tobytes())
        target = int(row[-1])
        number = counts[target]
        counts[target] += 1
        path = folder / _FOLDERS[number % len(_FOLDERS)] / f"digit-{target}" / f"{target}_{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(row[:-1].reshape(8, 8)))


def read_digits() -> npt.NDArray[np.float64]:
    """Return an array of shape (1797, 65): 64 grey levels of 0 to 16, and the digit.

    The file is read directly, because importing sklearn takes seconds.
    """
    package = importlib.util.find_spec("sklearn")
    folders = package.submodule_search_locations if package else None
    if not folders:
        why = "they are part of scikit-learn, which is not installed"
        raise SourceRefused("sample", "the sample images are missing", why, "install kennel again (make setup)")
    with gzip.open(Path(folders[0], "datasets", "data", "digits.csv.gz"), "rt") as file:
        return np.loadtxt(file, delimiter=",")


def _jpeg(digit: npt.NDArray[np.float64]) -> bytes:
    """Return an 8 x 8 digit of 17 grey levels as a JPEG of 160 x 160 px, dark on a light background."""
    ink = (255 - digit * 15).astype(np.uint8)
    paper = Image.fromarray(ink).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).convert("RGB")
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(paper), quality=85, colorsubsampling="420"))
