"""Convert one image of a dataset from its source bytes to the staged bytes, without I/O.

A staged image is an upright RGB JPEG whose shortest side is at most a limit; images are never enlarged. A baseline
colour JPEG that is upright and small enough is kept unchanged. Other JPEGs are decoded at the smallest DCT scale that
covers the target size. Alpha is composited over white, 16 bits are scaled to 8, CMYK and palettes are converted, and
EXIF rotation is applied. Colour profiles are ignored. An image that cannot be converted is quarantined with a reason.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.uint8]

_ORIENTATION = 0x0112
_BASELINE = 0xC0
_FRAMES = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_MAX_JPEG_SIDE = 65_500
_WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error)

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"II*\x00", "a TIFF"),
    (0, b"MM\x00*", "a TIFF"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a zip"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypmsf1", "a HEIC picture"),
)


class BrokenImage(Exception):
    """The image cannot be used; the message is the reason for the quarantine."""


@dataclass(frozen=True)
class ImageLimits:
    """The limits of a staged image."""

    shortest_side_px: int = 256
    jpeg_quality: int = 90
    max_pixels: int = 64_000_000


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A JPEG that is ready to be staged, with its width and height in px."""

    data: bytes
    width: int
    height: int


def prepare_image(data: bytes, limits: ImageLimits) -> PreparedImage:
    """Convert an image's source bytes to the staged bytes.

    Raises:
        BrokenImage: the image is empty, is not a JPEG, PNG or WebP, is truncated, damaged or animated, or has more than
            `max_pixels`.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _prepare_jpeg(data, limits)
        if data[:8] == b"\x89PNG\r\n\x1a\n" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            return _encode(_resize(_decode_with_pillow(data, limits), limits), limits)
    except MemoryError as error:
        raise BrokenImage("decoding it needs too much memory") from error
    raise BrokenImage(_unsupported_reason(data))


def _unsupported_reason(data: bytes) -> str:
    if not data:
        return "it is empty (0 bytes)"
    for offset, magic, name in _OTHER_FORMATS:
        if data[offset : offset + len(magic)] == magic:
            return f"it is {name}; only JPEG, PNG and WebP are supported"
    return f"it is not an image: it begins with {data[:12]!r}"


def _prepare_jpeg(data: bytes, limits: ImageLimits) -> PreparedImage:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise BrokenImage(f"its JPEG header is damaged: {error}") from error
    _check_size(width, height, limits)
    frame, has_exif = _jpeg_facts(data)
    if colours in {"CMYK", "YCCK"} or (has_exif and _orientation(data) != 1):
        return _encode(_resize(_decode_with_pillow(data, limits), limits), limits)
    target_width, target_height = _target(width, height, limits)
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=target_height, min_width=target_width)
    except ValueError:
        # Unusual but legal files (stray bytes between markers) fail here; Pillow reads them and raises for damage.
        return _encode(_resize(_decode_with_pillow(data, limits), limits), limits)
    if frame == _BASELINE and colours == "YCbCr" and (width, height) == (target_width, target_height):
        return PreparedImage(data, width, height)
    return _encode(_resize(Image.fromarray(pixels), limits, (target_width, target_height)), limits)


def _jpeg_facts(data: bytes) -> tuple[int, bool]:
    """Return the frame's marker (0xC0 is baseline, 0 if none was found) and whether there is an EXIF segment."""
    position, has_exif, end = 2, False, len(data) - 4
    while position < end:
        if data[position] != 0xFF:
            return 0, has_exif
        marker = data[position + 1]
        if marker in _FRAMES:
            return marker, has_exif
        if marker == 0xFF:
            position += 1
            continue
        has_exif = has_exif or (marker == 0xE1 and data[position + 4 : position + 8] == b"Exif")
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, has_exif


def _orientation(data: bytes) -> int:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN as error:
        raise BrokenImage(f"its EXIF data is damaged: {error}") from error


def _decode_with_pillow(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decode an image completely, as upright RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check_size` has a lower limit
            image: Image.Image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
        _check_size(*image.size, limits)
        _check_frames(image)
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise BrokenImage(f"it has too many pixels: {error}") from error
    except _BROKEN as error:
        raise BrokenImage(f"it is truncated or damaged: {error}") from error


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels or max(width, height) > _MAX_JPEG_SIDE:
        raise BrokenImage(f"it has {width} x {height} px; at most {limits.max_pixels} pixels are allowed")


def _check_frames(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "JPEG":
        raise BrokenImage(f"it is an animation of {frames} frames")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_MODES:
        wide: npt.NDArray[Any] = np.asarray(image)
        return Image.fromarray((wide.astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, (255, 255, 255, 255)), opaque).convert("RGB")
    return image.convert("RGB")


def _target(width: int, height: int, limits: ImageLimits) -> tuple[int, int]:
    """Return the staged width and height: the shortest side is at most the limit, and the aspect ratio is kept."""
    scale = min(1.0, limits.shortest_side_px / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resize(image: Image.Image, limits: ImageLimits, target: tuple[int, int] | None = None) -> Image.Image:
    size = target or _target(*image.size, limits)
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def _encode(image: Image.Image, limits: ImageLimits) -> PreparedImage:
    pixels: Pixels = np.ascontiguousarray(image)
    data = simplejpeg.encode_jpeg(pixels, quality=limits.jpeg_quality, colorspace="RGB", colorsubsampling="420")
    return PreparedImage(bytes(data), image.width, image.height)
