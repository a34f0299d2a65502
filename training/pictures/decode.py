"""Decode the bytes of a picture to upright sRGB pixels, or refuse them with a reason.

A JPEG is decoded at the smallest DCT scale that still covers what is needed, so a large photo is not held at full size.
Of an animation, a phone's multi-picture file or a TIFF of many pages the first picture is taken. Of EXIF the
orientation alone is read. JPEG, PNG and WebP are decoded here, other formats in a process with limits of memory and
time, unless this one has them.
"""

from __future__ import annotations

import io
import struct
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from . import headers
from .colour import WIDE_MODES, Pixels, Wide, apply_profile, is_srgb, to_eight_bits, to_rgb
from .limits import DEFAULT_LIMITS, BadPicture, PictureLimits

READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, HEIC and AVIF"
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError)
"""What Pillow raises for damaged files, with `struct.error`, `MemoryError` and `DecompressionBombError`."""

_TURNED = (5, 6, 7, 8)
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""Pillow's readers of 16-bit colours keep the high byte; of the other order's reader that is the low one."""

warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata, which is not used, and of large pictures


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright sRGB, (H, W, 3) uint8, its format, and notes on how it was read.

    `size`: width and height in px of the whole picture, of which `pixels` may be a smaller scale. `is_as_stored`: it is
    a baseline colour JPEG whose bytes any decoder shows in the same way.
    """

    pixels: Pixels
    format: str
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    is_as_stored: bool = False


def decode(
    data: bytes, *, minimum_side: int, limits: PictureLimits = DEFAULT_LIMITS, is_isolated: bool = False
) -> Picture:
    """Decode a picture.

    A JPEG may be decoded at a smaller scale, at which no side is shorter than `minimum_side` px. `is_isolated`: this
    process has limits of memory and time, so that rare formats are decoded in it.

    Raises:
        BadPicture: it is empty, of no known format, truncated or damaged, or larger than the limits.
    """
    limits.require_bytes(len(data))
    kind = headers.format_of(data)
    if kind is None:
        raise BadPicture(f"it is {headers.what_it_is(data)}; {READABLE} are read")
    try:
        if kind == headers.JPEG:
            return _decode_jpeg(data, minimum_side, limits)
        if kind not in headers.COMMON and not is_isolated:
            from .isolation import decode_isolated  # only those who need it pay for it

            return decode_isolated(data, limits)
        return _decode_with_pillow(data, kind, limits)
    except BadPicture:
        raise
    except UnidentifiedImageError as error:  # its own message has the address of an object
        raise BadPicture(
            f"it is truncated or damaged: it begins like a {kind} picture, and has no header of one"
        ) from error
    except Image.DecompressionBombError as error:
        raise BadPicture(f"it has too many pixels: {error}", is_too_large=True) from error
    except MemoryError as error:
        raise BadPicture("decoding it needs too much memory", is_too_large=True) from error
    except (*BROKEN, struct.error) as error:
        raise BadPicture(f"it is truncated or damaged: {error}") from error


def _decode_jpeg(data: bytes, minimum_side: int, limits: PictureLimits) -> Picture:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise BadPicture(f"its JPEG header is damaged: {error}") from error
    limits.require_pixels(width, height)
    header = headers.read_jpeg_header(data)
    needs_profile = bool(header.profile) and not is_srgb(header.profile)
    if colours in ("CMYK", "YCCK") or (needs_profile and colours == "Gray"):
        return _decode_with_pillow(data, headers.JPEG, limits)
    try:
        pixels = np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=minimum_side, min_width=minimum_side))
    except ValueError:  # legal files with stray bytes between markers: Pillow reads them, and raises for damage
        return _decode_with_pillow(data, headers.JPEG, limits)
    notes: tuple[str, ...] = ()
    if needs_profile:
        converted, note = apply_profile(Image.fromarray(pixels), header.profile)
        pixels, notes = np.asarray(converted), (note,) if note else ()
    orientation = headers.orientation_of(header.exif)
    is_plain = header.frame == headers.BASELINE and colours == "YCbCr" and orientation == 1 and not needs_profile
    size = (height, width) if orientation in _TURNED else (width, height)
    return Picture(_upright(pixels, orientation), headers.JPEG, size, notes, is_as_stored=is_plain)


def _decode_with_pillow(data: bytes, kind: str, limits: PictureLimits) -> Picture:
    if kind == headers.HEIF:
        _register_heif()
    formats = (kind, "MPO") if kind == headers.JPEG else (kind,)
    image = _opened(data, formats)
    limits.require_pixels(*image.size)
    png = headers.read_png_header(data) if kind == headers.PNG else headers.PngHeader()
    notes = _note_of_frames(image, kind, png.frames)
    exif, profile = image.info.get("exif") or b"", image.info.get("icc_profile") or b""
    wide = _wide_samples(data, image, kind)
    if wide is None:
        image.load()
        converted, note = to_rgb(image, profile, png.gamma)
    else:
        eight, depth_note = to_eight_bits(wide, png.significant_bits)
        notes += (depth_note,) if depth_note else ()
        converted, note = to_rgb(Image.fromarray(eight), profile, png.gamma)
    notes += (note,) if note else ()
    orientation = 1 if kind == headers.HEIF else headers.orientation_of(bytes(exif))
    pixels = _upright(np.asarray(converted), orientation)
    return Picture(pixels, kind, (pixels.shape[1], pixels.shape[0]), notes)


def _opened(data: bytes, formats: tuple[str, ...]) -> ImageFile:
    """Read the header of a picture."""
    image = Image.open(io.BytesIO(data), formats=formats)
    assert isinstance(image, ImageFile)
    return image


def _register_heif() -> None:
    try:
        import pi_heif  # an import of 0.1 s, for pictures that few have
    except ImportError as error:
        why = "it is a HEIC picture, and pi-heif is not installed here; save it as JPEG"
        raise BadPicture(why) from error
    pi_heif.register_heif_opener(thumbnails=False)


def _note_of_frames(image: Image.Image, kind: str, frames_of_png: int) -> tuple[str, ...]:
    """Return a note on the pictures of a file that are not used; a phone's portrait has more of the same photo."""
    if kind == headers.JPEG:
        return ()
    frames = frames_of_png if kind == headers.PNG else int(getattr(image, "n_frames", 1))
    return (f"only the first of its {frames} frames is used",) if frames > 1 else ()


def _wide_samples(data: bytes, image: ImageFile, kind: str) -> Wide | None:
    """Return the samples of a picture of more than 8 bits, (H, W) or (H, W, channels), else None."""
    if image.mode in WIDE_MODES:
        image.load()
        return np.asarray(image)
    rawmodes = {_rawmode(tile.args) for tile in image.tile}
    if len(rawmodes) != 1 or not (rawmode := rawmodes.pop()).endswith(tuple(_OTHER_BYTE)):
        return None
    return _both_bytes(data, image, kind, rawmode)


def _both_bytes(data: bytes, image: ImageFile, kind: str, rawmode: str) -> Wide | None:
    """Read colours of 16 bits, of which Pillow keeps the high byte, once for each byte."""
    name, _, order = rawmode.rpartition(";")
    other = f"{name};{_OTHER_BYTE[order]}"
    low = _opened(data, (kind,))
    low.tile = [tile._replace(args=_with_rawmode(tile.args, other)) for tile in low.tile]
    try:
        low.load()
    except (ValueError, OSError, KeyError):  # Pillow has no such reader for this mode: the high byte alone is used
        return None
    image.load()
    wide: Wide = np.asarray(image).astype(np.uint16) << 8 | np.asarray(low)
    return wide


TileArguments = tuple[Any, ...] | str | None


def _rawmode(args: TileArguments) -> str:
    return str(args[0]) if isinstance(args, tuple) else str(args)


def _with_rawmode(args: TileArguments, rawmode: str) -> TileArguments:
    return (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the camera's rotation and mirroring: EXIF orientations 2 to 8 (TIFF 6.0, tag 274)."""
    if orientation in _TURNED:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
