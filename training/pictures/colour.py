"""Bring decoded samples to 8-bit sRGB: depth, transparency, colour profile and gamma, by one rule for all formats."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Pixels = npt.NDArray[np.uint8]
Wide = npt.NDArray[Any]

WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
_DEPTHS = (8, 10, 12, 16)
_WHITE = 65_535
_SRGB_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.05
_SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
DAMAGED_PROFILE = "its colour profile cannot be used, and its colours are taken as sRGB"


def to_eight_bits(samples: Wide, significant_bits: int | None = None) -> tuple[Pixels, str | None]:
    """Scale samples of more than 8 bits to 8, and return a note if the file uses only a part of its range.

    `samples`: (H, W) or (H, W, channels); a fourth channel is opacity and has a range of its own. Data of 8, 10 or 12
    bits in 16 is recognised by its largest sample, or by the number of significant bits that the file states if its
    samples fit in them. Floating-point samples up to 1 are shares of white.
    """
    if samples.ndim == 3 and samples.shape[2] == 4:
        colours, note = to_eight_bits(samples[..., :3], significant_bits)
        opacity, _ = to_eight_bits(samples[..., 3], significant_bits)
        return np.dstack([colours, opacity]), note
    top = float(np.nan_to_num(samples.max(initial=0), posinf=0.0))
    if np.issubdtype(samples.dtype, np.floating) and top <= 1.0:
        return _scaled(samples, 1.0), None
    white = max(2.0 ** _bits_of(top, significant_bits) - 1, top)
    note = f"its samples use {white:.0f} of 65535 and are scaled to 8 bits by that" if white < _WHITE else None
    if samples.dtype == np.uint16:
        table = _scaled(np.arange(2**16), white)
        return table[samples], note
    return _scaled(samples, white), note


def _scaled(samples: Wide, white: float) -> Pixels:
    finite = np.nan_to_num(samples.astype(np.float32), posinf=white, neginf=0.0)
    eight: Pixels = np.rint(finite * (255 / white)).clip(0, 255).astype(np.uint8)
    return eight


def _bits_of(top: float, stated: int | None) -> int:
    if stated is not None and 8 <= stated < 16 and top < 2**stated:
        return stated
    return next((bits for bits in _DEPTHS if top < 2**bits), 16)


def to_rgb(image: Image.Image, profile: bytes, gamma: float | None) -> tuple[Image.Image, str | None]:
    """Return an image of at most 8 bits as sRGB over white, and a note if its profile cannot be used."""
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, (255, 255, 255, 255)), opaque).convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile:
        return apply_profile(image, profile)
    if gamma is not None and abs(gamma / _SRGB_GAMMA - 1) > _GAMMA_TOLERANCE and 0.01 < gamma < 10:
        image = _with_srgb_gamma(image.convert("RGB"), gamma)
    return image.convert("RGB"), None


def _with_srgb_gamma(image: Image.Image, gamma: float) -> Image.Image:
    levels = 255 * (np.arange(256) / 255) ** (_SRGB_GAMMA / gamma)
    return image.point([round(float(level)) for level in levels] * 3)


def apply_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """Return an image of mode L, RGB or CMYK as sRGB by its colour profile, and a note if that cannot be used."""
    if is_srgb(profile):
        return image.convert("RGB"), None
    transform = _transform(profile, image.mode)
    if transform is None:
        return image.convert("RGB"), DAMAGED_PROFILE
    return ImageCms.applyTransform(image, transform) or image, None


@functools.lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Tell whether a profile says that it is sRGB, which needs no conversion."""
    try:
        return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return False


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _SPACES.get(source.profile.xcolor_space) != mode:
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
