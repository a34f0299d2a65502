"""Tests of preparing one image: it is kept, converted, or refused with a reason."""

import struct
import time
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from tasks.data.image_judgement import ONE_COLOUR, ImageLimits, PreparedImage, prepare_image
from tests.tasks.data.datasets import encoded, jpeg, picture
from training.pictures import BadPicture

LIMITS = ImageLimits(shortest_side_px=256, jpeg_quality=90, max_pixels=4_000_000)


def pixels(prepared: PreparedImage) -> np.ndarray:
    return np.asarray(simplejpeg.decode_jpeg(prepared.data, "RGB"))


def png_header(width: int, height: int) -> bytes:
    """Return the beginning of a PNG that announces a size and has almost no data."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", body), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    framed = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_a_small_baseline_jpeg_is_kept_byte_for_byte() -> None:
    data = jpeg(1, 300, 256)
    assert prepare_image(data, LIMITS).data is data


def test_a_large_jpeg_is_brought_to_the_shortest_side_once_and_keeps_its_shape() -> None:
    source = picture(2, 1200, 800)
    prepared = prepare_image(encoded(source, quality=95), LIMITS)
    reference = np.asarray(source.resize((384, 256), Image.Resampling.BILINEAR), dtype=float)
    assert (prepared.width, prepared.height) == (384, 256)
    assert np.abs(pixels(prepared) - reference).mean() < 2.5


def test_a_small_image_is_never_enlarged() -> None:
    prepared = prepare_image(encoded(picture(3, 20, 10), "PNG"), LIMITS)
    assert (prepared.width, prepared.height) == (20, 10)


def test_exif_rotation_is_undone() -> None:
    left_red = Image.new("RGB", (40, 20), (0, 0, 255))
    left_red.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to see it upright
    prepared = prepare_image(encoded(left_red, quality=95, exif=exif), LIMITS)
    assert (prepared.width, prepared.height) == (20, 40)
    assert pixels(prepared)[5, 10, 0] > 200 > 100 > pixels(prepared)[35, 10, 0]


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (Image.new("L", (16, 16), 128), "JPEG", (128, 128, 128)),
        (Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGB", (16, 16), (0, 200, 0)).quantize(4), "PNG", (0, 200, 0)),
        (Image.fromarray(np.full((16, 16), 0x8000, np.uint16)), "PNG", (128, 128, 128)),
        (Image.new("1", (16, 16), 1), "PNG", (255, 255, 255)),
        (Image.new("RGB", (16, 16), (10, 20, 250)), "WEBP", (10, 20, 250)),
    ],
    ids=["cmyk", "grey", "transparent over white", "palette", "16 bits", "1 bit", "webp"],
)
def test_other_colour_models_become_the_right_rgb(image: Image.Image, kind: str, expected: tuple[int, ...]) -> None:
    colour = pixels(prepare_image(encoded(image, kind), LIMITS))[8, 8]
    assert np.abs(colour.astype(int) - expected).max() <= 8


def test_a_progressive_jpeg_is_encoded_again_as_baseline() -> None:
    data = encoded(picture(4), progressive=True)
    assert prepare_image(data, LIMITS).data != data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (jpeg(5, 300, 300)[:-2000], "truncated or damaged"),
        (jpeg(5)[:30], "damaged"),
        (b"hello, I am a text file", "it is not an image: it begins with b'hello"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "truncated or damaged"),
        (b"GIF89a" + bytes(50), "truncated or damaged"),
        (b"<!DOCTYPE html><title>Sign in</title>", r"a web page \(HTML\)"),
        (png_header(30_000, 30_000), "too many pixels"),
        (png_header(3_000, 2_000), "3000 x 2000 px; at most KENNEL_MAX_IMAGE_PIXELS=4000000 pixels"),
        (png_header(100, 100), "truncated or damaged"),
    ],
    ids=["empty", "truncated", "cut header", "text", "heic", "gif", "web page", "bomb", "large", "short png"],
)
def test_a_broken_image_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    begun = time.process_time()
    with pytest.raises(BadPicture, match=reason):
        prepare_image(data, LIMITS)
    assert time.process_time() - begun < 2


def test_the_first_frame_of_an_animation_is_staged_with_a_note() -> None:
    frames = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in (0, 120, 250)]
    prepared = prepare_image(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), LIMITS)
    assert prepared.notes == ("only the first of its frames is used", ONE_COLOUR)
    assert np.abs(pixels(prepared).astype(int)).max() <= 8


def test_the_thumbnail_has_the_mean_grey_of_each_sixteenth() -> None:
    halves = Image.new("RGB", (64, 32), (0, 0, 0))
    halves.paste((200, 200, 200), (32, 0, 64, 32))
    prepared = prepare_image(encoded(halves, "PNG"), LIMITS)
    assert prepared.thumbnail == (bytes(8) + bytes([200] * 8)) * 16
    assert prepared.notes == ()
