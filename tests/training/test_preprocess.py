"""Tests of preprocessing: every supported kind of picture, and the pictures that are refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.training.datasets import picture
from training.pictures import BadPicture
from training.pictures import decode as decode_picture
from training.preprocess import Pixels, Preprocessing, augmented_view, evaluation_view, load_for_evaluation

PLAIN = Preprocessing()


def decode(data: bytes, minimum_side: int) -> Pixels:
    return decode_picture(data, minimum_side=minimum_side).pixels


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_pillow_does(orientation: int) -> None:
    source = Image.open(io.BytesIO(picture("sky", 1, size=(300, 280))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(source, "JPEG", exif=exif, quality=95)

    found = decode(data, minimum_side=280)

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 1


KINDS_AND_MODES = [("PNG", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")]
KINDS_AND_MODES += [("WEBP", "RGB"), ("WEBP", "RGBA"), ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK")]


@pytest.mark.parametrize(("kind", "mode"), KINDS_AND_MODES)
def test_every_colour_mode_becomes_the_same_grey_in_rgb(kind: str, mode: str) -> None:
    grey = Image.new("L", (40, 30), 255 if mode == "1" else 120)
    image = grey.convert("I").point(lambda value: value * 257).convert(mode) if mode == "I;16" else grey.convert(mode)

    pixels = decode(encoded(image, kind), minimum_side=30)

    assert pixels.shape == (30, 40, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - grey.getpixel((0, 0))).max() <= 4


def test_transparent_pixels_are_blended_with_white() -> None:
    clear = encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG")

    assert (decode(clear, minimum_side=20) == 255).all()


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_but_not_below_the_minimum_side() -> None:
    pixels = decode(picture("moss", 2, size=(2400, 1600)), minimum_side=256)

    assert pixels.shape[0] < 1600
    assert min(pixels.shape[:2]) >= 256


def test_the_evaluation_view_is_resize_and_centre_crop() -> None:
    source = Image.open(io.BytesIO(picture("apple", 3, size=(400, 256))))

    found = evaluation_view(np.asarray(source), PLAIN)

    expected = np.asarray(source)[16:240, 88:312]  # the shortest side is 256 already, so only the crop remains
    assert found.shape == (224, 224, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_augmented_views_follow_the_generator_and_differ_from_each_other() -> None:
    pixels = decode(picture("sky", 4), minimum_side=256)

    once, again = (augmented_view(pixels, PLAIN, random=np.random.default_rng(7)) for _ in range(2))
    other = augmented_view(pixels, PLAIN, random=np.random.default_rng(8))

    assert (once == again).all()
    assert (once != other).any()


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_a_truncated_jpeg_is_refused(keep: float) -> None:
    data = picture("sky", 5)

    with pytest.raises(BadPicture, match=r"truncated or damaged|header is damaged"):
        load_for_evaluation(data[: int(len(data) * keep)], PLAIN)


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + b"\0" * 50, b"<svg/>", b"\xff\xd8\xff"])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(BadPicture, match=r"it is empty|it is not an image|damaged|an SVG"):
        load_for_evaluation(data, PLAIN)


@pytest.mark.parametrize("side", [8_001, 12_000, 60_000])
def test_a_picture_with_too_many_pixels_is_refused_by_its_header(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    bomb += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))

    with pytest.raises(BadPicture, match=r"px; at most|too many pixels") as caught:
        load_for_evaluation(bomb, PLAIN)
    assert caught.value.is_too_large
