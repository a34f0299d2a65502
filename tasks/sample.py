"""The sample dataset: scikit-learn's handwritten digits, written once as JPEGs in the reference layout.

1,797 real images of 10 classes that come inside an installed package, so that the demo needs no network. Deterministic:
the split is by position within the class (5 of 7 train, 1 validation, 1 test), exact copies are dropped.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

NAME = "sample"
VERSION = "digits-1"
SIDE_PX = 160
_FOLDERS = ("train", "train", "train", "train", "train", "valid", "test")


def make_sample(home: Path) -> Path:
    """Return the folder of the sample below `home`, written if it is not there yet (whole or not at all)."""
    folder = home / "sample" / VERSION
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{VERSION}-", dir=folder.parent))
        try:
            _write(partial)
            partial.chmod(0o755)
            partial.rename(folder)
        except OSError:
            shutil.rmtree(partial)
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _write(folder: Path) -> None:
    from sklearn.datasets import load_digits  # seconds to import, and needed once

    digits = load_digits()
    seen: set[bytes] = set()
    counts: Counter[int] = Counter()
    for image, target in zip(digits.images, digits.target, strict=True):
        if image.tobytes() in seen:
            continue
        seen.add(image.tobytes())
        number = counts[int(target)]
        counts[int(target)] += 1
        path = folder / _FOLDERS[number % len(_FOLDERS)] / f"digit-{target}" / f"{target}_{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(image))


def _jpeg(digit: npt.NDArray[np.float64]) -> bytes:
    """Return an 8 x 8 digit of 17 grey levels as a JPEG of dark ink on light paper, the size of a small photo."""
    ink = (255 - digit * 15).astype(np.uint8)
    paper = Image.fromarray(ink).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).convert("RGB")
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(paper), quality=85, colorsubsampling="420"))
