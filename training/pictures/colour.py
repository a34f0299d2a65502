"""Bring decoded samples to 8-bit sRGB: depth, transparency, colour profile and gamma, by one rule for all formats."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]
"""Samples of more than 8 bits: (H, W) or (H, W, channels)."""

WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
DAMAGED_PROFILE = "its colour profile cannot be used, and its colours are taken as sRGB"
_DEPTHS = (8, 10, 12, 16)
_WHITE = 65_535
_SRGB_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.05
_SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
_MOST_PROFILE_BYTES = 4 * 2**20
"""A printer's profile has 2 MiB; larger ones are not read, and so not kept in memory."""

_SAME_LEVELS = 2
_TESTED = np.array([(0, 0, 0), (40, 40, 40), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 60)])
"""Colours that show whether a profile is sRGB."""


def to_eight_bits(
    samples: Samples, *, bits: int | None = None, has_opacity: bool = False, gamma: float | None = None
) -> tuple[Pixels, str | None]:
    """Scale samples of more than 8 bits to 8, and return a note if the file uses only a part of its range.

    With `has_opacity` the last channel is opacity and has a range of its own. Data of 8, 10 or 12 bits in 16 is
    recognised by its largest sample, or by `bits`, the number of significant bits that the file states, if its samples
    fit in them. Floating-point samples up to 1 are shares of white. `gamma` is undone before anything is rounded.
    """
    if has_opacity:
        colours, note = to_eight_bits(samples[..., :-1], bits=bits, gamma=gamma)
        opacity, _ = to_eight_bits(samples[..., -1], bits=bits)
        return np.dstack([colours, opacity]), note
    is_floating = bool(np.issubdtype(samples.dtype, np.floating))
    top = float(samples.max(initial=0, where=np.isfinite(samples)) if is_floating else samples.max(initial=0))
    if is_floating and top <= 1.0:
        return _scaled(samples, 1.0, gamma), None
    white = max(2.0 ** _bits_of(top, bits) - 1, top)
    note = f"its samples use {white:.0f} of 65535 and are scaled to 8 bits by that" if white < _WHITE else None
    if samples.dtype == np.uint16:
        table = _scaled(np.arange(2**16), white, gamma)
        return table[samples], note
    return _scaled(samples, white, gamma), None if is_floating else note


def _scaled(samples: Samples, white: float, gamma: float | None) -> Pixels:
    shares = np.nan_to_num(samples.astype(np.float32), posinf=white, neginf=0.0).clip(0, white) / white
    if gamma is not None and is_other_gamma(gamma):
        shares **= _SRGB_GAMMA / gamma
    eight: Pixels = np.rint(shares * 255).astype(np.uint8)
    return eight


def _bits_of(top: float, stated: int | None) -> int:
    if stated is not None and 8 <= stated < 16 and top < 2**stated:
        return stated
    return next((bits for bits in _DEPTHS if top < 2**bits), 16)


def is_other_gamma(gamma: float) -> bool:
    """Tell whether a PNG's gamma is another one than that of sRGB, and one that there can be."""
    return 0.01 < gamma < 10 and abs(gamma / _SRGB_GAMMA - 1) > _GAMMA_TOLERANCE


def to_rgb(image: Image.Image, profile: bytes, gamma: float | None) -> tuple[Image.Image, str | None]:
    """Return an image of at most 8 bits as sRGB over white, and a note if its profile cannot be used."""
    image, opacity = _apart(image)
    if profile:
        shown, note = apply_profile(image, profile)
    else:
        shown, note = image.convert("RGB"), None
        if gamma is not None and is_other_gamma(gamma):
            shown = shown.point(_curve(gamma) * 3)
    if opacity is not None:
        shown = Image.composite(shown, Image.new("RGB", shown.size, (255, 255, 255)), opacity)
    return shown, note


def _apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours of an image in mode L, RGB or CMYK, and its opacity if it has one."""
    if image.mode in ("La", "RGBa", "PA") or "transparency" in image.info:
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in ("LA", "RGBA"):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _curve(gamma: float) -> list[int]:
    levels = 255 * (np.arange(256) / 255) ** (_SRGB_GAMMA / gamma)
    return [round(float(level)) for level in levels]


def apply_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """Return an image of mode L, RGB or CMYK as sRGB by its colour profile, and a note if that cannot be used."""
    if image.mode == "RGB" and is_srgb(profile):
        return image, None
    transform = _transform(profile, image.mode) if len(profile) <= _MOST_PROFILE_BYTES else None
    if transform is None:
        return image.convert("RGB"), DAMAGED_PROFILE
    shown = ImageCms.applyTransform(image, transform)
    assert shown is not None  # it is None for a change in place only
    return shown, None


def is_srgb(profile: bytes) -> bool:
    """Tell whether a profile shows colours as sRGB does, whatever it is called."""
    return len(profile) <= _MOST_PROFILE_BYTES and _shows_as_srgb(profile)


@functools.lru_cache(maxsize=8)
def _shows_as_srgb(profile: bytes) -> bool:
    transform = _transform(profile, "RGB")
    if transform is None:
        return False
    tested = Image.fromarray(_TESTED.astype(np.uint8)[None])
    shown = ImageCms.applyTransform(tested, transform)
    return shown is not None and int(np.abs(np.asarray(shown).astype(int) - _TESTED).max()) <= _SAME_LEVELS


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _SPACES.get(source.profile.xcolor_space) != mode:
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
