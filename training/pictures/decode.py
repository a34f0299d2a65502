"""Decode the bytes of a picture to upright sRGB pixels, or refuse them with a reason.

A JPEG is decoded at the smallest DCT scale that still covers what is needed, so a large photo is not held at full size.
Of an animation, a phone's multi-picture file or a TIFF of many pages the first picture is taken. Of EXIF the
orientation alone is read. JPEG, WebP and PNG of 8 bits are decoded here, others in a process with limits of memory and
time, unless this one has them.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from . import headers
from .colour import Pixels, apply_profile, is_srgb, to_rgb
from .limits import DEFAULT_LIMITS, PIXELS_VARIABLE, BadPicture, PictureLimits
from .tiff_header import what_tiff_it_is
from .wide import opened, read_wide

READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, HEIC and AVIF"
MOST_SCANS = 200
"""Of a progressive JPEG: each costs a pass over all of its pixels, and cameras write ten."""

FIRST_FRAME, FIRST_PICTURE = "only the first of its frames is used", "only the first of its pictures is used"
BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError),
    RuntimeError,  # of the AVIF decoder
)
"""What Pillow raises for damaged files, with `struct.error`, `MemoryError` and `DecompressionBombError`."""

_TURNED = (5, 6, 7, 8)
_NEW_SUBFILE_TYPE, _DNG_VERSION, _REDUCED = 254, 50706, 1

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
    if not is_isolated and _is_rare(data, kind):
        from .isolation import decode_isolated  # only those who need it pay for it

        return decode_isolated(data, limits)
    try:
        return _decode(data, kind, minimum_side, limits)
    except BadPicture:
        raise
    except Image.DecompressionBombError as error:  # twice Pillow's own limit, which is above every limit of ours
        why = f"it has too many pixels; at most {PIXELS_VARIABLE}={limits.max_pixels} pixels are allowed"
        raise BadPicture(why, is_too_large=True) from error
    except MemoryError as error:
        raise BadPicture("decoding it needs too much memory", is_too_large=True) from error
    except (*BROKEN, struct.error) as error:
        raise BadPicture(f"it is truncated or damaged: {error}") from error


def _decode(data: bytes, kind: str, minimum_side: int, limits: PictureLimits) -> Picture:
    try:
        return _decode_jpeg(data, minimum_side, limits) if kind == headers.JPEG else _decode_other(data, kind, limits)
    except UnidentifiedImageError as error:  # its own message has the address of an object
        raise BadPicture(_unidentified(data, kind)) from error


def _unidentified(data: bytes, kind: str) -> str:
    """Return why Pillow cannot tell what a picture is that begins like one of this kind."""
    tiff = what_tiff_it_is(data) if kind == headers.TIFF else None
    if tiff is not None:
        return f"it is {tiff}, which is not read; save it as PNG with 1, 3 or 4 bands of 8 or 16 bits"
    return f"it is truncated or damaged: only its first bytes are those of a {kind} picture"


def _is_rare(data: bytes, kind: str) -> bool:
    """Tell whether a picture is of a rare format, or a PNG of 16 bits, which takes many times its size in memory."""
    return kind not in headers.COMMON or (kind == headers.PNG and headers.read_png_header(data).bit_depth == 16)


def _decode_jpeg(data: bytes, minimum_side: int, limits: PictureLimits) -> Picture:
    scans = data.count(b"\xff\xda")
    if scans > MOST_SCANS:
        raise BadPicture(f"it has {scans} scans; at most {MOST_SCANS} are allowed")
    header = headers.read_jpeg_header(data)
    notes = _with((), FIRST_PICTURE if header.has_more_pictures else None)
    needs_profile = bool(header.profile) and not is_srgb(header.profile)
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        limits.require_pixels(width, height)
        if colours in ("CMYK", "YCCK") or (needs_profile and colours == "Gray"):
            return _decode_other(data, headers.JPEG, limits, notes)
        pixels = np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=minimum_side, min_width=minimum_side))
    except BadPicture:
        raise
    except ValueError:  # legal files with stray bytes between markers: Pillow reads them, and raises for damage
        return _decode_other(data, headers.JPEG, limits, notes)
    if needs_profile:
        converted, note = apply_profile(Image.fromarray(pixels), header.profile)
        pixels, notes = np.asarray(converted), _with(notes, note)
    orientation = headers.orientation_of(header.exif)
    is_plain = header.frame == headers.BASELINE and colours == "YCbCr" and orientation == 1 and not needs_profile
    size = (height, width) if orientation in _TURNED else (width, height)
    return Picture(_upright(pixels, orientation), headers.JPEG, size, notes, is_as_stored=is_plain)


def _decode_other(data: bytes, kind: str, limits: PictureLimits, notes: tuple[str, ...] = ()) -> Picture:
    """Decode a picture by Pillow, completely."""
    if kind == headers.HEIF:
        _register_heif()
    image = opened(data, *((kind, "MPO") if kind == headers.JPEG else (kind,)))
    limits.require_pixels(*image.size)
    if kind == headers.TIFF:
        _refuse_raw(data, image)
    png = headers.read_png_header(data) if kind == headers.PNG else headers.PngHeader()
    notes = _with(notes, _note_of_frames(data, image, kind, png))
    profile = headers.read_jpeg_header(data).profile if kind == headers.JPEG else image.info.get("icc_profile") or b""
    wide = read_wide(data, image, kind, png)
    if wide is None:
        image.load()
        converted, note = to_rgb(image, profile, png.gamma)
    else:
        notes = _with(notes, wide[1])
        converted, note = to_rgb(wide[0], profile, None)
    pixels = _upright(np.asarray(converted), _orientation_of(image, kind))
    return Picture(pixels, kind, (pixels.shape[1], pixels.shape[0]), _with(notes, note))


def _with(notes: tuple[str, ...], note: str | None) -> tuple[str, ...]:
    return (*notes, note) if note else notes


def _orientation_of(image: ImageFile, kind: str) -> int:
    """Return the orientation of an image that was loaded: a PNG may have it behind its pixels; HEIF is upright."""
    if kind == headers.HEIF:
        return 1
    exif = image.info.get("exif") or headers.exif_of_text(image.info.get("Raw profile type exif"))
    return headers.orientation_of(bytes(exif))


def _register_heif() -> None:
    try:
        import pi_heif  # an import of 0.1 s, for pictures that few have
    except ImportError as error:
        why = "it is a HEIC picture, and pi-heif is not installed here; save it as JPEG"
        raise BadPicture(why) from error
    pi_heif.register_heif_opener(thumbnails=False)


def _refuse_raw(data: bytes, image: ImageFile) -> None:
    """Refuse a camera's raw file, whose first picture is a small preview."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if data[8:10] == b"CR" or _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE) == _REDUCED:
        raise BadPicture(f"it is a camera's raw file; save it as JPEG. {READABLE} are read")


def _note_of_frames(data: bytes, image: ImageFile, kind: str, png: headers.PngHeader) -> str | None:
    """Return a note if a file has more pictures that are not used; they are not counted, which would read them all."""
    if kind == headers.PNG:
        return FIRST_FRAME if png.frames > 1 else None
    if kind == headers.TIFF:
        return FIRST_PICTURE if _has_second_page(data) else None
    return FIRST_FRAME if kind != headers.JPEG and getattr(image, "is_animated", False) else None


def _has_second_page(data: bytes) -> bool:
    try:
        opened(data, headers.TIFF).seek(1)
    except (*BROKEN, struct.error):
        return False
    return True


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the camera's rotation and mirroring: EXIF orientations 2 to 8 (TIFF 6.0, tag 274)."""
    if orientation in _TURNED:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
