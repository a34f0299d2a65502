"""Tell whether two photos whose thumbnails are alike have the same fine detail, as copies have and likenesses do not.

Pictures of one scene, of one pattern or of one template look the same at 16 x 16 px. Detail is what a blur of 3 x 3 px
takes away, of both pictures at the same size of at most 128 x 128 px. A copy that was saved again or made smaller keeps
it; in another picture it is other noise and other edges.
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


def read_green(jpeg: bytes) -> Image.Image:
    """Return the green channel of a staged JPEG, decoded in full: the decoder's smaller sizes have other detail."""
    pixels = simplejpeg.decode_jpeg(jpeg, "RGB")
    return Image.fromarray(np.ascontiguousarray(pixels[..., 1]))


def has_same_detail(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether the detail of two pictures correlates; True if one of them has none."""
    size = (min(one.width, other.width, MOST_PX), min(one.height, other.height, MOST_PX))
    first, second = _detail(one, size), _detail(other, size)
    deviations = float(first.std()), float(second.std())
    if min(deviations) < LEAST_DEVIATION:
        return True
    return float((first * second).mean()) >= LEAST_CORRELATION * deviations[0] * deviations[1]


def _detail(image: Image.Image, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    small = image.resize(size, Image.Resampling.BOX)
    detail = np.asarray(small, np.float32) - np.asarray(small.filter(ImageFilter.BoxBlur(1)), np.float32)
    return np.asarray(detail - detail.mean(), np.float32)
