"""One picture is the same for staging, training and serving: the same pixels, or the same refusal."""

import importlib
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tasks.data.image_judgement import ImageLimits, PreparedImage, prepare_image
from tests.training.pictures.corpus import (
    SIZE,
    Sample,
    damaged,
    display_p3,
    encoded,
    gradient,
    png,
    whole,
    with_orientation,
)
from training.pictures import BadPicture, PictureLimits, decode, isolation
from training.pictures.decode import FIRST_FRAME, FIRST_PICTURE
from training.preprocess import Pixels, Preprocessing, load_for_evaluation

CROP = Preprocessing(resize=96, crop=84)
WHOLE = list(whole())
DAMAGED = list(damaged(WHOLE))


def staged(sample: Sample) -> PreparedImage | str:
    try:
        return prepare_image(sample.data, ImageLimits(shortest_side_px=96))
    except BadPicture as refusal:
        return str(refusal)


def served(sample: Sample) -> Pixels | str:
    try:
        return load_for_evaluation(sample.data, CROP)
    except BadPicture as refusal:
        return str(refusal)


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_corpus_has_some_two_hundred_files() -> None:
    assert len(WHOLE) + len(DAMAGED) >= 200


@pytest.mark.parametrize("sample", WHOLE, ids=lambda sample: sample.name)
def test_every_kind_of_picture_shows_what_it_shows_elsewhere(sample: Sample) -> None:
    found = decode(sample.data, minimum_side=96)
    assert sample.shown is not None and found.pixels.shape == sample.shown.shape
    assert difference(found.pixels, sample.shown) < (5 if found.format == "GIF" else 2.5)  # of 256 colours


def test_staging_training_and_serving_see_the_same_pixels_or_refuse_alike() -> None:
    files = [*WHOLE, *DAMAGED]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(served, files))
    refused = 0
    for sample, answer in zip(files, answers, strict=True):
        prepared = staged(sample)
        if isinstance(prepared, str) or isinstance(answer, str):
            assert answer == prepared, sample.name
            refused += 1
            continue
        trained = load_for_evaluation(prepared.data, CROP)
        assert difference(trained, answer) < (4 if sample.shown is not None else 16), sample.name
    assert 60 < refused < len(DAMAGED)


def test_what_is_no_plain_picture_is_noted() -> None:
    notes = {sample.name: decode(sample.data, minimum_side=96).notes for sample in WHOLE if "TIFF" not in sample.name}
    assert notes["GIF of three frames"] == notes["PNG of three frames"] == (FIRST_FRAME,)
    assert notes["PNG, grey of 12 bits in 16"][0].startswith("its samples use 4095 of 65535")
    assert notes["JPEG, damaged profile"] == ("its colour profile cannot be used, and its colours are taken as sRGB",)
    assert notes["MPO"] == (FIRST_PICTURE,)
    assert notes["JPEG, Display P3"] == notes["PNG, grey of 16 bits in 16"] == ()


def test_a_dark_photo_with_a_profile_is_staged_anew_and_a_plain_one_is_kept() -> None:
    plain = encoded(gradient(), "JPEG", quality=90)
    with_profile = encoded(gradient(), "JPEG", quality=90, icc_profile=display_p3())
    assert prepare_image(plain, ImageLimits()).data == plain
    assert prepare_image(with_profile, ImageLimits()).data != with_profile


@pytest.mark.parametrize(
    "data", [encoded(gradient(), "JPEG"), encoded(gradient(), "TIFF"), png(np.zeros((96, 128), np.uint16))]
)
def test_the_limits_are_the_same_for_each_format_and_name_their_setting(data: bytes) -> None:
    with pytest.raises(BadPicture, match=r"128 x 96 px; at most KENNEL_MAX_IMAGE_PIXELS=12287 pixels") as pixels:
        decode(data, minimum_side=96, limits=PictureLimits(max_pixels=SIZE[0] * SIZE[1] - 1))
    with pytest.raises(BadPicture, match=r"at most KENNEL_MAX_IMAGE_BYTES=\d+ are allowed") as size:
        decode(data, minimum_side=96, limits=PictureLimits(max_bytes=len(data) - 1))
    assert pixels.value.is_too_large and size.value.is_too_large


def test_a_decoder_that_takes_too_long_is_ended_and_the_picture_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "WALL_SECONDS", 0.001)
    with pytest.raises(BadPicture, match="crashed or stalled"):
        decode(encoded(gradient(), "TIFF"), minimum_side=96)


def test_limits_are_read_from_the_environment_that_they_write() -> None:
    limits = PictureLimits(1_000_000, 5_000)
    assert PictureLimits.from_environment(limits.variables()) == limits
    for given in ("many", "-1", "64M", "", "9" * 5000):
        with pytest.raises(ValueError, match=r"KENNEL_MAX_IMAGE_PIXELS=.* is no whole number above 0"):
            PictureLimits.from_environment({"KENNEL_MAX_IMAGE_PIXELS": given})


def test_nothing_is_printed_for_damaged_metadata(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09" + bytes(range(60)))
    assert decode(data, minimum_side=96).pixels.shape == (96, 128, 3)
    assert "".join(capfd.readouterr()) == ""


def test_the_size_is_that_of_the_whole_picture_held_upright() -> None:
    turned = next(sample for sample in WHOLE if sample.name == "orientation 6")
    assert decode(turned.data, minimum_side=8).size == SIZE
    assert decode(turned.data, minimum_side=8).pixels.shape == (12, 16, 3)
    assert decode(encoded(gradient(), "TIFF"), minimum_side=8).size == SIZE


def test_no_damage_of_its_metadata_costs_a_photo(capfd: pytest.CaptureFixture[str]) -> None:
    """One to four bytes of the EXIF block are wrong; the pixels are whole, held upright or as they were stored."""
    good = with_orientation(6).data
    begin = good.index(b"Exif\0\0")
    end = begin - 2 + int.from_bytes(good[begin - 2 : begin], "big")
    random = np.random.default_rng(3)
    stored = np.rot90(np.asarray(gradient()))
    kept = 0
    for _ in range(300):
        damaged = bytearray(good)
        for at in random.integers(begin + 6, end, random.integers(1, 5)):
            damaged[at] = random.integers(256)
        found = decode(bytes(damaged), minimum_side=96).pixels
        assert min(difference(found, turned) for turned in _turns(stored) if turned.shape == found.shape) < 2.5
        kept += found.shape[:2] == (SIZE[1], SIZE[0])
    assert kept > 150, "the orientation is used where it can be read"
    assert "".join(capfd.readouterr()) == ""


def _turns(pixels: Pixels) -> list[Pixels]:
    """Return the eight ways to hold a picture."""
    mirrored = pixels[:, ::-1]
    return [np.rot90(each, quarter) for each in (pixels, mirrored) for quarter in range(4)]


def test_a_photo_of_108_megapixels_is_refused_by_its_header() -> None:
    data = bytearray(encoded(gradient(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (9_000).to_bytes(2, "big") + (12_000).to_bytes(2, "big")
    with pytest.raises(BadPicture, match="12000 x 9000 px; at most KENNEL_MAX_IMAGE_PIXELS=64000000 pixels"):
        decode(bytes(data), minimum_side=96)


def test_a_jpeg_of_very_many_scans_is_refused_before_they_are_decoded() -> None:
    data = encoded(gradient(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(BadPicture, match="scans; at most 200 are allowed"):
        decode(data[:-2] + 200 * scan + data[-2:], minimum_side=96)


def test_what_lies_behind_the_end_of_a_jpeg_is_not_staged() -> None:
    data = encoded(gradient(), "JPEG", quality=90)
    assert prepare_image(data + b"a video" * 1000, ImageLimits()).data == data


def test_a_cameras_raw_file_is_refused_and_its_preview_is_not_taken_for_it() -> None:
    data = encoded(gradient(), "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(BadPicture, match="it is a camera's raw file; save it as JPEG"):
        decode(data, minimum_side=96)


def test_a_dark_ramp_of_linear_light_keeps_its_levels() -> None:
    ramp = np.tile(np.linspace(0, 0.05 * 65535, 128).astype(np.uint16), (96, 1))
    linear = png(ramp, chunks=((b"gAMA", (100_000).to_bytes(4, "big")),))
    assert len(np.unique(decode(linear, minimum_side=96).pixels)) > 40


def test_the_decoder_sees_no_credentials_and_a_broken_one_is_no_bad_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(gradient(), "TIFF")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(isolation, "_MODULE", "training.pictures.nowhere")
    with pytest.raises(RuntimeError, match=r"the picture decoder does not work: .*nowhere"):
        decode(data, minimum_side=96)


@pytest.mark.parametrize(
    ("mark", "bands", "bits", "compression", "told"),
    [
        ("<", 13, 16, 1, "it is a TIFF with 13 bands, which is not read"),
        (">", 5, 8, 1, "it is a TIFF with 5 bands, which is not read"),
        ("<", 1, 24, 1, "it is a TIFF with 1 band of 24 bits, which is not read"),
        ("<", 3, 8, 50000, "it is a TIFF with compression 50000, which is not read"),
    ],
)
def test_a_sound_tiff_that_is_not_read_is_not_called_damaged(
    mark: str, bands: int, bits: int, compression: int, told: str
) -> None:
    with pytest.raises(BadPicture) as refused:
        decode(tiff(mark, bands, bits, compression), minimum_side=1)
    assert str(refused.value).startswith(told) and "damaged" not in str(refused.value)


def test_the_beginning_of_a_tiff_alone_is_damaged_in_plain_words() -> None:
    for data in (b"II*\0" + bytes(20), tiff("<", 13, 16, 1)[:60]):
        with pytest.raises(BadPicture, match="truncated or damaged: only its first bytes are those of a TIFF picture"):
            decode(data, minimum_side=1)


@pytest.mark.parametrize("mark", ["<", ">"])
@pytest.mark.parametrize("offset", [2**63, 2**64 - 8])
def test_a_big_tiff_whose_offsets_are_too_large_is_damaged(mark: str, offset: int) -> None:
    begin = struct.pack(f"{mark}HHHQ", 43, 8, 0, 16)
    head = (b"II" if mark == "<" else b"MM") + begin
    tags = [struct.pack(f"{mark}HHQHHI", tag, 3, 1, 4, 0, 0) for tag in (256, 257)]
    tags.append(struct.pack(f"{mark}HHQQ", 258, 3, 8, offset))
    with_bits = head + struct.pack(f"{mark}Q", len(tags)) + b"".join(tags) + bytes(8)
    for data in (with_bits, head[:8] + struct.pack(f"{mark}Q", offset) + with_bits[16:]):
        with pytest.raises(BadPicture, match="it is truncated or damaged"):
            decode(data, minimum_side=1)


def test_a_header_that_cannot_be_read_for_any_reason_is_a_bad_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> str:
        raise IndexError("a mistake in reading tags")

    monkeypatch.setattr(importlib.import_module("training.pictures.decode"), "what_tiff_it_is", fail)
    with pytest.raises(BadPicture, match="it is truncated or damaged: a mistake"):
        decode(tiff("<", 13, 16, 1), minimum_side=1, is_isolated=True)


def tiff(mark: str, bands: int, bits: int, compression: int) -> bytes:
    """Return a TIFF of 4 x 4 px with as many bits in each band, in little (<) or big (>) endian."""
    tags = [(256, 3, 1, 4), (257, 3, 1, 4), (259, 3, 1, compression), (262, 3, 1, 1), (277, 3, 1, bands)]
    places = 8 + 2 + 12 * (len(tags) + 4) + 4
    pixels = bytes(16 * bands * bits // 8)
    depth = (258, 3, bands, places) if bands > 2 else (258, 3, 1, bits)
    tags += [depth, (273, 4, 1, places + 2 * bands), (278, 3, 1, 4), (279, 4, 1, len(pixels))]
    head = b"II*\0" if mark == "<" else b"MM\0*"
    rows = [struct.pack(f"{mark}HHI", *tag[:3]) + _value(mark, *tag[1:]) for tag in sorted(tags)]
    body = head + struct.pack(f"{mark}IH", 8, len(rows)) + b"".join(rows) + bytes(4)
    return body + struct.pack(f"{mark}{bands}H", *[bits] * bands) + pixels


def _value(mark: str, kind: int, count: int, value: int) -> bytes:
    return struct.pack(f"{mark}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{mark}I", value)
