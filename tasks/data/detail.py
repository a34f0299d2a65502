"""Tell whether two photos whose thumbnails are alike have the same colours and fine detail, as copies have.

Pictures of one scene, of one pattern or of one template look the same at 16 x 16 px. Detail is what a blur of 3 x 3 px
takes away, of both pictures at the same size of at most 128 x 128 px. A copy that was saved again or made smaller keeps
it; in another picture it is other noise and other edges. Detail is compared in green, which JPEG keeps best.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFilter

MOST_PX = 128
LEAST_CORRELATION = 0.35
"""Measured: distinct pictures of one pattern with noise have at most 0.24; copies of such at least 0.45, and copies of
photos at least 0.42, that of JPEG quality 50, half the size, 20 % brighter, or cut by 0.5 % at each edge."""
LEAST_DEVIATION = 1.5
"""In levels: a picture with less detail, such as a drawing or a blurred one, is not judged by it."""


MOST_COLOUR = 20.0
"""In levels, by which a channel may differ more or less from grey than in the other picture, in any of 4 x 4 parts.
Measured: copies of 41 photos that were saved again, made smaller, or 20 % brighter or darker have at most 16; of 159
copies with 30 % more colour, one has more than 20."""
_GREY = 3.0
_PARTS = 4


def read_picture(jpeg: bytes) -> Image.Image:
    """Return a staged JPEG, decoded in full: the decoder's smaller sizes have other detail."""
    return Image.fromarray(simplejpeg.decode_jpeg(jpeg, "RGB"))


def has_same_colour(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether the colours of two pictures are alike in all parts; True if one of them is grey all over."""
    first, second = _colour(one), _colour(other)
    if min(np.abs(first).max(), np.abs(second).max()) < _GREY:
        return True
    return bool(np.abs(first - second).max() <= MOST_COLOUR)


def has_same_detail(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether the detail of two pictures correlates; True if one of them has none."""
    size = (min(one.width, other.width, MOST_PX), min(one.height, other.height, MOST_PX))
    first, second = _detail(one, size), _detail(other, size)
    deviations = float(first.std()), float(second.std())
    if min(deviations) < LEAST_DEVIATION:
        return True
    return float((first * second).mean()) >= LEAST_CORRELATION * deviations[0] * deviations[1]


def _colour(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return by how much the channels differ from grey in each part of a picture: (4, 4, 3), in levels."""
    parts = np.asarray(image.resize((_PARTS, _PARTS), Image.Resampling.BOX), np.float32)
    return np.asarray(parts - parts.mean(2, keepdims=True), np.float32)


def _detail(image: Image.Image, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    small = image.getchannel("G").resize(size, Image.Resampling.BOX)
    detail = np.asarray(small, np.float32) - np.asarray(small.filter(ImageFilter.BoxBlur(1)), np.float32)
    return np.asarray(detail - detail.mean(), np.float32)
