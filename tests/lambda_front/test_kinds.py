"""Tests of recognising pictures that libraries wrote, and of refusing other content."""

import io

import pytest
from kinds import content_type_of, recognise
from PIL import Image
from refusal import Refusal

from tests.training.pictures.corpus import Sample, whole
from training.pictures.headers import format_of
from training.serve import _IMAGE_TYPES


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


@pytest.mark.parametrize("sample", list(whole()), ids=lambda sample: sample.name)
def test_every_picture_that_is_trained_on_gets_a_type_that_the_endpoint_accepts(sample: Sample) -> None:
    assert content_type_of(sample.data) in _IMAGE_TYPES


STARTS = [
    *(order + bytes(12) for order in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*")),
    *(
        b"P%d%b1 1" % (number, blank)
        for number in range(9)
        for blank in (b" ", b"\t", b"\n", b"\r", b"\v", b"\f", b"x")
    ),
    *(box(brand) for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1")),
    *(box(brand) for brand in (b"msf1", b"avif", b"avis", b"isom", b"qt  ")),
    *(box(b"isom", *[b"mp41"] * count, b"heic") for count in (1, 11, 12, 58, 59, 60, 61, 80)),
    *(b"\xff\xd8\xff", b"\xff\xd8", b"GIF87a", b"GIF88a", b"\xff\x4f\xff\x51", b"RIFF\0\0\0\0WEBP", b"%PDF-1.7", b""),
]


@pytest.mark.parametrize("start", STARTS, ids=repr)
def test_the_function_and_the_decoder_recognise_the_same_starts(start: bytes) -> None:
    assert (recognise(start) is None) == (format_of(start) is None)
