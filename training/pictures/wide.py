"""Read the samples of pictures of more than 8 bits, of which Pillow keeps one byte for most colours."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from . import headers
from .colour import WIDE_MODES, Pixels, Samples, to_eight_bits
from .limits import BadPicture

_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""Pillow's readers of 16-bit colours keep the high byte; of the other order's reader that is the low one."""

_PLANES, _PHOTOMETRIC = 284, 262
_WHITE_IS_ZERO = 0
_GREY_AND_OPACITY, _RGBA = 4, 6

TileArguments = tuple[Any, ...] | str | None


def opened(data: bytes, *formats: str) -> ImageFile:
    """Read the header of a picture of one of Pillow's formats."""
    image = Image.open(io.BytesIO(data), formats=formats)
    assert isinstance(image, ImageFile)
    return image


def read_wide(
    data: bytes, image: ImageFile, kind: str, png: headers.PngHeader
) -> tuple[Image.Image, str | None] | None:
    """Return a picture of more than 8 bits scaled to 8, with a note if it uses a part of its range; None for others.

    Raises:
        BadPicture: its samples lie in a way that is not read.
    """
    samples = _samples(data, image, kind, png)
    if samples is None:
        return None
    has_opacity = image.mode in ("RGBA", "LA")
    eight, note = to_eight_bits(samples, bits=png.significant_bits, has_opacity=has_opacity, gamma=png.gamma)
    if png.clear:
        eight[(samples.reshape(*samples.shape[:2], -1) == np.array(png.clear)).all(-1)] = 255  # as white shows through
    if _is_inverted(image, kind):
        eight = 255 - eight
    return _image_of(eight, image.mode), note


def _image_of(eight: Pixels, mode: str) -> Image.Image:
    if mode == "CMYK":
        return Image.frombytes("CMYK", (eight.shape[1], eight.shape[0]), eight.tobytes())
    return Image.fromarray(eight)


def _samples(data: bytes, image: ImageFile, kind: str, png: headers.PngHeader) -> Samples | None:
    if kind == headers.PNG and png.bit_depth == 16 and png.colour_type == _GREY_AND_OPACITY:
        return _grey_and_opacity(data)
    if image.mode in WIDE_MODES:
        image.load()
        return np.asarray(image)
    rawmodes = {_rawmode(tile.args) for tile in image.tile}
    if not any(mode.endswith(tuple(_OTHER_BYTE)) for mode in rawmodes):
        return None
    if len(rawmodes) > 1 or _tag(image, kind, _PLANES) == 2:
        raise BadPicture("its 16-bit channels are stored one after the other, which is not read; save it as 8 bits")
    return _both_bytes(data, image, kind, rawmodes.pop())


def _grey_and_opacity(data: bytes) -> Samples:
    """Read a PNG of 16-bit grey and opacity, which has as many bytes a pixel as one of 8-bit RGBA, as the latter."""
    changed = bytearray(data)
    changed[24:26] = bytes((8, _RGBA))
    changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    image = opened(bytes(changed), headers.PNG)
    image.load()
    four = np.asarray(image).astype(np.uint16)
    samples: Samples = four[..., 0::2] << 8 | four[..., 1::2]
    return samples


def _both_bytes(data: bytes, image: ImageFile, kind: str, rawmode: str) -> Samples:
    """Read colours of 16 bits, of which Pillow keeps the high byte, once for each byte."""
    name, _, order = rawmode.rpartition(";")
    other = f"{name};{_OTHER_BYTE[order]}"
    low = opened(data, kind)
    low.tile = [tile._replace(args=_with_rawmode(tile.args, other)) for tile in low.tile]
    try:
        low.load()
    except (ValueError, KeyError) as error:  # Pillow has no such reader for this mode
        raise BadPicture(f"its 16-bit samples ({rawmode}) are not read; save it as 8 bits") from error
    image.load()
    samples: Samples = np.asarray(image).astype(np.uint16)
    samples <<= 8
    samples |= np.asarray(low)
    return samples


def _rawmode(args: TileArguments) -> str:
    return str(args[0]) if isinstance(args, tuple) else str(args)


def _with_rawmode(args: TileArguments, rawmode: str) -> TileArguments:
    return (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode


def _is_inverted(image: ImageFile, kind: str) -> bool:
    return image.mode in WIDE_MODES and _tag(image, kind, _PHOTOMETRIC) == _WHITE_IS_ZERO


def _tag(image: ImageFile, kind: str, number: int) -> object:
    return image.tag_v2.get(number) if kind == headers.TIFF else None  # type: ignore[attr-defined]
