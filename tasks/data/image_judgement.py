"""Convert one image of a dataset from its source bytes to the staged bytes, without I/O.

A staged image is an upright sRGB JPEG whose shortest side is at most a limit; images are never enlarged. A baseline
colour JPEG that is upright and small enough is kept as it is, without what lies behind its end. How an image is read is
decided by `training.pictures`, as serving decides it; one that cannot be read is quarantined with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from training.pictures import Picture, PictureLimits, decode, end_of_jpeg

Pixels = npt.NDArray[np.uint8]
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""The share of each channel in grey (ITU-R BT.601), as JPEG has it."""

THUMBNAIL_SIDE_PX = 16
ONE_COLOUR = "it is nearly of one colour"
_MOST_ALIKE, _LEAST_DEVIATION = 8, 2.0
"""The range of a thumbnail's levels, and the standard deviation of a channel, below which a picture is of one colour.

A dark photo has a deviation of 5 and more.
"""


@dataclass(frozen=True)
class ImageLimits:
    """The limits of a staged image."""

    shortest_side_px: int = 256
    jpeg_quality: int = 90
    max_pixels: int = PictureLimits.max_pixels
    max_bytes: int = PictureLimits.max_bytes


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A JPEG that is ready to be staged, with its width and height in px.

    `thumbnail`: 16 x 16 grey levels, row by row, by which near duplicates are found; `notes`: how
    it was read; `source_size`: width and height of the file's picture in px.
    """

    data: bytes
    width: int
    height: int
    thumbnail: bytes
    source_size: tuple[int, int]
    notes: tuple[str, ...] = ()


def prepare_image(data: bytes, limits: ImageLimits) -> PreparedImage:
    """Convert an image's source bytes to the staged bytes.

    Raises:
        BadPicture: as `training.pictures.decode`.
    """
    of_file = PictureLimits(limits.max_pixels, limits.max_bytes)
    picture = decode(data, minimum_side=limits.shortest_side_px, limits=of_file, is_isolated=True)
    height, width = picture.pixels.shape[:2]
    target = _target(width, height, limits)
    is_kept = picture.is_as_stored and target == (width, height)
    pixels = picture.pixels if target == (width, height) else _resized(picture.pixels, target)
    staged = data[: end_of_jpeg(data)] if is_kept else _encoded(pixels, limits)
    thumbnail = _thumbnail(pixels)
    return PreparedImage(staged, *target, thumbnail, picture.size, _notes(picture, pixels, thumbnail))


def _target(width: int, height: int, limits: ImageLimits) -> tuple[int, int]:
    """Return the staged width and height: the shortest side is at most the limit, and the aspect ratio is kept."""
    scale = min(1.0, limits.shortest_side_px / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(pixels: Pixels, target: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.BILINEAR))


def _encoded(pixels: Pixels, limits: ImageLimits) -> bytes:
    upright = np.ascontiguousarray(pixels)
    return bytes(simplejpeg.encode_jpeg(upright, quality=limits.jpeg_quality, colorspace="RGB", colorsubsampling="420"))


def _thumbnail(pixels: Pixels) -> bytes:
    """Return the means of 16 x 16 equal parts, in grey; matrix products are faster than a library for small photos."""
    height, width = pixels.shape[:2]
    rows = _parts(height) @ pixels.reshape(height, -1).astype(np.float32)
    grey = rows.reshape(THUMBNAIL_SIDE_PX, width, 3) @ _GREY
    return np.rint(grey @ _parts(width).T).astype(np.uint8).tobytes()


@lru_cache(maxsize=256)
def _parts(pixels: int) -> npt.NDArray[np.float32]:
    """Return the share that each pixel of a line has in each of 16 equal parts of it: (16, pixels)."""
    ends = np.linspace(0, pixels, THUMBNAIL_SIDE_PX + 1)
    begins = np.arange(pixels)
    shared = np.minimum(ends[1:, None], begins + 1) - np.maximum(ends[:-1, None], begins)
    return np.asarray(np.maximum(shared, 0) * THUMBNAIL_SIDE_PX / pixels, np.float32)


def _notes(picture: Picture, pixels: Pixels, thumbnail: bytes) -> tuple[str, ...]:
    some = thumbnail[::15]  # of each column
    if max(some) - min(some) > _MOST_ALIKE:
        return picture.notes
    is_one_colour = pixels.std(axis=(0, 1)).max() < _LEAST_DEVIATION
    return (*picture.notes, ONE_COLOUR) if is_one_colour else picture.notes
