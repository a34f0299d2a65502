"""Read what the headers of pictures say, without decoding: the format, the EXIF orientation, a JPEG's segments.

Nothing here raises for damaged bytes: what cannot be read is as if it were missing. Sources: ITU-T T.81 (JPEG), the PNG
specification (W3C, third edition), TIFF 6.0 (tag 274), ISO/IEC 14496-12 (`ftyp`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

JPEG, PNG, WEBP = "JPEG", "PNG", "WEBP"
GIF, BMP, TIFF, PPM, JPEG2000, HEIF, AVIF = "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "HEIF", "AVIF"
COMMON = frozenset({JPEG, PNG, WEBP})
"""The formats that are decoded in this process; the others are decoded in one of their own."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".jp2", ".j2k", ".heic", ".heif", ".avif"),
)
"""The usual endings of the names of these files, in lower case; what a file is, is decided by its bytes."""

BASELINE = 0xC0
_FRAMES = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG2000),
    (b"\xff\x4f\xff\x51", JPEG2000),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
)
_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body")
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_ORIENTATION, _SHORT = 0x0112, 3
_EXIF = b"Exif\0\0"
_PROFILE, _MORE_PICTURES = b"ICC_PROFILE\0", b"MPF\0"
_SCAN, _END = 0xDA, b"\xff\xd9"


def format_of(data: bytes) -> str | None:
    """Return the format that the first bytes are of, or None."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        return _format_of_brands(data)
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3] in (b" ", b"\t", b"\n", b"\r"):
        return PPM
    return None


def _format_of_brands(data: bytes) -> str | None:
    end = min(int.from_bytes(data[:4], "big"), 256, len(data))
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return AVIF
    return HEIF if brands & _HEIC_BRANDS else None


def what_it_is(data: bytes) -> str:
    """Return what bytes of no known format are, as the end of a sentence."""
    for magic, name in _FOREIGN:
        if data.startswith(magic):
            return name
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_WEB_PAGE):
        return "a web page (HTML), not an image"
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG drawing"
    return f"not an image: it begins with {data[:12]!r}"


@dataclass(frozen=True)
class JpegHeader:
    """A JPEG's segments before its pixels: the frame's marker (0 if there is none), EXIF block and colour profile.

    `has_more_pictures`: it is a multi-picture file (CIPA DC-007), as phones write.
    """

    frame: int = 0
    exif: bytes = b""
    profile: bytes = b""
    has_more_pictures: bool = False


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Walk the segments of a JPEG up to its frame."""
    position, end = 2, len(data) - 4
    exif, pieces, has_more = b"", list[bytes](), False
    while position < end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _FRAMES:
            return JpegHeader(marker, exif, b"".join(pieces), has_more)
        if marker == 0xFF:
            position += 1
            continue
        following = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xE1 and not exif and data.startswith(_EXIF, position + 4):
            exif = data[position + 4 : following]
        elif marker == 0xE2 and data.startswith(_PROFILE, position + 4):
            pieces.append(data[position + 6 + len(_PROFILE) : following])  # behind its number and their count
        elif marker == 0xE2 and data.startswith(_MORE_PICTURES, position + 4):
            has_more = True
        position = following
    return JpegHeader(0, exif, b"".join(pieces), has_more)


def end_of_jpeg(data: bytes) -> int:
    """Return where a JPEG of one scan ends; what a phone puts behind it, such as a video, is no part of the picture."""
    position, end = 2, len(data) - 4
    while position < end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == _SCAN:
            found = data.find(_END, position)
            return found + len(_END) if found > 0 else len(data)
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return len(data)


def orientation_of(exif: bytes) -> int:
    """Return the orientation of an EXIF block, 1 to 8; 1 where there is none or it cannot be read."""
    block = exif.removeprefix(_EXIF)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    if start + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", block, at)
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", block, at + 8)
            return value if 1 <= value <= 8 else 1
    return 1


@dataclass(frozen=True)
class PngHeader:
    """What a PNG's chunks before its pixels say of its samples, and whether it is animated (acTL).

    `significant_bits`: of sBIT, the most of its channels, or None; `gamma`: of gAMA, None where an sRGB chunk or a
    colour profile overrules it; `clear`: of tRNS, the samples of a transparent pixel.
    """

    bit_depth: int = 8
    colour_type: int = 2
    significant_bits: int | None = None
    gamma: float | None = None
    frames: int = 1
    clear: tuple[int, ...] = ()


def read_png_header(data: bytes) -> PngHeader:
    """Read the chunks of a PNG up to its pixels."""
    chunks = _chunks_before_pixels(data)
    header = chunks.get(b"IHDR", b"").ljust(13, b"\0")
    significant = chunks.get(b"sBIT")
    gamma = chunks.get(b"gAMA", b"")
    is_overruled = b"sRGB" in chunks or b"iCCP" in chunks
    frames = chunks.get(b"acTL", b"")
    return PngHeader(
        bit_depth=header[8] or 8,
        colour_type=header[9],
        significant_bits=max(significant) if significant else None,
        gamma=int.from_bytes(gamma, "big") / 100_000 if len(gamma) == 4 and not is_overruled else None,
        frames=int.from_bytes(frames[:4], "big") if len(frames) == 8 else 1,
        clear=_clear_samples(chunks.get(b"tRNS", b""), header[9]),
    )


def _clear_samples(content: bytes, colour_type: int) -> tuple[int, ...]:
    channels = {0: 1, 2: 3}.get(colour_type, 0)
    return struct.unpack(f">{channels}H", content) if channels and len(content) == 2 * channels else ()


def exif_of_text(text: object) -> bytes:
    """Return the EXIF block that ImageMagick writes into a PNG as text ("Raw profile type exif"); b"" for any other."""
    try:
        return bytes.fromhex("".join(str(text).split("\n")[3:]))
    except ValueError:
        return b""


def _chunks_before_pixels(data: bytes) -> dict[bytes, bytes]:
    position, found = 8, dict[bytes, bytes]()
    while position + 12 <= len(data):
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if name == b"IDAT":
            break
        found.setdefault(name, data[position + 8 : position + 8 + min(size, 4096)])
        position += 12 + size
    return found
