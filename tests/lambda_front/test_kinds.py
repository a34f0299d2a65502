"""Tests of recognising pictures that libraries wrote, and of refusing other content."""

import io

import pytest
from kinds import content_type_of
from PIL import Image
from refusal import Refusal


def saved(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (40, 30)).save(buffer, kind)
    return buffer.getvalue()


def box(brand: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4, "big") + content


@pytest.mark.parametrize(
    ("image", "content_type"),
    [
        (saved("JPEG"), "image/jpeg"),
        (saved("MPO"), "image/jpeg"),
        (saved("PNG"), "image/png"),
        (saved("WEBP"), "image/webp"),
        (saved("GIF"), "image/gif"),
        (saved("BMP"), "image/bmp"),
        (saved("TIFF"), "image/tiff"),
        (b"MM\x00*\x00\x00\x00\x08", "image/tiff"),
        (saved("PPM"), "image/x-portable-anymap"),
        (saved("PPM", "L"), "image/x-portable-anymap"),
        (b"P3\n# text\n1 1\n255\n0 0 0\n", "image/x-portable-anymap"),
        (saved("JPEG2000"), "image/jp2"),
        (b"\xff\x4f\xff\x51\x00\x2f", "image/jp2"),
        (box(b"heic", b"mif1", b"heic"), "image/heic"),
        (box(b"mif1", b"mif1", b"heic"), "image/heic"),
        (box(b"avif", b"avif", b"mif1"), "image/avif"),
        (box(b"mif1", b"mif1", b"avif", b"miaf"), "image/avif"),
    ],
)
def test_pictures_are_recognised_by_their_first_bytes(image: bytes, content_type: str) -> None:
    assert content_type_of(image) == content_type


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"<svg>",
        b"%PDF-1.7",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"<html>\xff\xd8\xff",
        b"BMW is a make of cars and no bitmap",
        b"P6x",
        box(b"isom", b"mp41"),
        b"\xff\xff\xff\xffftypqt  ",
    ],
)
def test_other_content_is_refused_with_the_kinds_that_are_read(other: bytes) -> None:
    with pytest.raises(Refusal, match=r"JPEG, PNG, WebP, GIF.*HEIC") as caught:
        content_type_of(other)
    assert caught.value.status == 415
