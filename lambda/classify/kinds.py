"""Recognise the kind of a picture by its first bytes, as the endpoint does (`pictures/headers.py`). Decodes nothing."""

from __future__ import annotations

from refusal import Refusal

ACCEPTED = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, PGM, PBM, HEIC, AVIF or JPEG 2000"
_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
)
_PORTABLE = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_BLANKS = (b" ", b"\t", b"\r", b"\n")
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_BRANDS_READ = 256  # bytes of the first box that are searched for brands


def content_type_of(image: bytes) -> str:
    """Return the content type of a picture, recognised by its first bytes.

    Raises:
        Refusal: it is another kind of content (415).
    """
    content_type = recognise(image)
    if content_type is None:
        raise Refusal(415, "UnsupportedImage", f"The content is not a picture of a kind that is read: {ACCEPTED}.")
    return content_type


def recognise(image: bytes) -> str | None:
    """Return the content type of a picture, or None for another kind of content."""
    for magic, content_type in _MAGIC:
        if image.startswith(magic):
            return content_type
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    if image[:2] == b"BM" and int.from_bytes(image[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    if image[:2] in _PORTABLE and image[2:3] in _BLANKS:
        return "image/x-portable-anymap"
    return _by_brands(image) if image[4:8] == b"ftyp" else None


def _by_brands(image: bytes) -> str | None:
    """Return the content type that the brands of an ISO base media file name; AVIF's are the more specific ones."""
    end = min(int.from_bytes(image[:4], "big"), _BRANDS_READ)
    brands = {image[8:12], *(image[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "image/avif"
    return "image/heic" if brands & _HEIC_BRANDS else None
