"""Tests of nearly the same photos: altered copies are found, distinct ones are not, and a photo in two splits goes."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tasks.data.detail import has_same_colour
from tasks.data.image_judgement import ImageLimits, prepare_image
from tasks.data.judgement import LabelledImage
from tasks.data.leakage import find_leaks, leak_warnings, same_pairs, taken_out
from tasks.data.sample import make_sample
from tasks.data.twins import find_twins
from tests.tasks.data.datasets import encoded


def photo(seed: int, side: int = 256) -> Image.Image:
    """Return a picture with large and small shapes, as a photo has them."""
    random = np.random.default_rng(seed)
    layers = [(3, 0.6), (6, 0.3), (24, 0.1)]
    parts = [
        share * np.asarray(Image.fromarray(random.integers(0, 255, (n, n, 3), np.uint8)).resize((side, side), 3))
        for n, share in layers
    ]
    return Image.fromarray(np.sum(parts, axis=0).clip(0, 255).astype(np.uint8))


def twins_of(thumbnails: list[bytes]) -> list[tuple[int, int]]:
    return sorted(find_twins(thumbnails))


def thumbnail(image: Image.Image, quality: int = 90) -> bytes:
    return prepare_image(encoded(image, quality=quality), ImageLimits()).thumbnail


def again(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, quality=quality)))


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "quality 50": lambda image: again(image, 50),
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "cut by 1 px": lambda image: image.crop((1, 1, 255, 255)),
}


@pytest.mark.parametrize("kind", list(ALTERED))
def test_an_altered_copy_is_found_among_distinct_photos(kind: str) -> None:
    photos = [photo(seed) for seed in range(30)]
    copies = [ALTERED[kind](image) for image in photos[:10]]
    assert twins_of([thumbnail(each) for each in (*photos, *copies)]) == [(n, n + 30) for n in range(10)]


def test_pictures_of_nearly_one_colour_are_like_no_other() -> None:
    plain = [Image.new("RGB", (64, 64), (grey, grey, grey)) for grey in (10, 90, 91, 250)]
    assert twins_of([thumbnail(each) for each in plain]) == []
    assert twins_of([]) == twins_of([thumbnail(plain[0])]) == []


def test_no_two_digits_of_the_sample_are_twins(tmp_path: Path) -> None:
    files = sorted(make_sample(tmp_path).rglob("*.jpg"))
    found = twins_of([prepare_image(file.read_bytes(), ImageLimits()).thumbnail for file in files])
    assert (len(files), found) == (1797, [])


def test_twins_are_found_across_the_blocks_that_are_compared() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (9000, 256), np.uint8)
    thumbnails = [each.tobytes() for each in (*noise, *noise[:3])]
    assert twins_of(thumbnails) == [(0, 9000), (1, 9001), (2, 9002)]


def image(split: str, name: str, digest: str, class_name: str = "cat") -> LabelledImage:
    return LabelledImage(split, class_name, name, digest)


def pairs_of(*images: Image.Image, digests: str) -> list[tuple[int, int]]:
    prepared = [prepare_image(encoded(image, quality=90), ImageLimits()) for image in images]
    pairs, untold = same_pairs(digests, [each.thumbnail for each in prepared], lambda n: prepared[n].data)
    assert untold == []
    return pairs


def test_exact_copies_are_paired_with_the_first_and_near_ones_by_their_look() -> None:
    one, other = photo(1), photo(2)
    assert pairs_of(one, other, one, again(one, 50), digests="abac") == [(0, 2), (0, 3)]


def stripes(seed: int, phase: float) -> Image.Image:
    """Return a picture of a pattern that is the same but for its noise and a small phase."""
    y, x = np.mgrid[0:260, 0:300]
    noise = np.random.default_rng(seed).normal(0, 12, (260, 300, 3))
    pixels = 120 + 40 * np.sin((x * 0.5 + y * 0.8) / 9 + phase)[..., None] + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def test_pictures_of_one_pattern_with_other_detail_are_not_the_same_photo() -> None:
    one, other = stripes(1, 0.0), stripes(2, 0.02)
    thumbnails = [thumbnail(each) for each in (one, other)]
    copies = [ALTERED[kind](one) for kind in ("quality 50", "half", "brighter")]
    assert twins_of(thumbnails) == [(0, 1)]
    pairs = pairs_of(one, other, *copies, digests="abcde")
    assert len(pairs) == 3 and {index for pair in pairs for index in pair} == {0, 2, 3, 4}


def test_photos_of_train_in_validation_or_test_and_of_validation_in_test_are_taken_out() -> None:
    images = [
        image("train", "t/a", "a"),
        image("train", "t/b", "b"),
        image("validation", "v/a", "a"),
        image("validation", "v/c", "c"),
        image("test", "e/c", "c"),
        image("test", "e/b2", "b2"),
        image("train", "t/d", "d"),
    ]
    leaks = find_leaks(images, [(0, 2), (1, 5), (3, 4)])
    assert [(images[leak.index].name, images[leak.twin].name, leak.is_exact) for leak in leaks] == [
        ("t/a", "v/a", True),
        ("t/b", "e/b2", False),
        ("v/c", "e/c", True),
    ]
    assert leak_warnings(images, leaks, are_kept=False) == [
        "2 photos of train are also in validation or test (1 the same, 1 nearly so) and are taken out of train: "
        "t/a = v/a, t/b = e/b2",
        "1 photo of validation is also in test (1 the same) and is taken out of validation: v/c = e/c",
    ]
    assert "and stay there, as --keep-duplicates says" in leak_warnings(images, leaks, are_kept=True)[0]
    assert [(item.name, item.reason) for item in taken_out(images, leaks)][1] == (
        "t/b",
        "it is nearly the same photo as e/b2 in test, and is taken out of train",
    )


def test_every_copy_in_train_goes_when_one_of_them_has_a_near_twin_in_test() -> None:
    images = [image("train", "1", "a"), image("train", "2", "a", "dog"), image("test", "3", "b")]
    assert [leak.index for leak in find_leaks(images, [(0, 1), (0, 2)])] == [0, 1]


def test_copies_within_a_split_are_no_leak() -> None:
    assert find_leaks([image("train", "1", "a"), image("train", "2", "a")], [(0, 1)]) == []


def disc(colour: tuple[int, int, int], seed: int) -> Image.Image:
    """Return a disc on noise; red (200, 60, 60) and green (60, 140, 60) have the same grey."""
    noise = np.random.default_rng(seed).normal(120, 12, (256, 256, 1)).repeat(3, axis=2)
    y, x = np.mgrid[0:256, 0:256]
    noise[(x - 128) ** 2 + (y - 128) ** 2 < 90**2] += np.array(colour) - 120
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def test_pictures_that_differ_only_in_colour_are_not_the_same_photo() -> None:
    red, green = disc((190, 70, 70), 1), disc((80, 123, 80), 1)
    assert twins_of([thumbnail(red), thumbnail(green)]) == [(0, 1)]
    assert pairs_of(red, green, digests="ab") == []


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2])
def test_copies_with_other_brightness_or_without_colour_have_the_same_colours(factor: float) -> None:
    one = photo(3)
    grey = one.convert("L").convert("RGB")
    assert has_same_colour(one, again(ImageEnhance.Brightness(one).enhance(factor), 50))
    assert has_same_colour(one, grey) and not has_same_colour(one, photo(4))


def frames(count: int, *, of: int = 0) -> list[bytes]:
    """Return photos of one scene by a camera that stands still: the same but for the noise of the sensor."""
    random = np.random.default_rng(of)
    coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
    scene = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC), int)
    noisy = (scene + random.normal(0, 12, scene.shape) for _ in range(count))
    return [encoded(Image.fromarray(each.clip(0, 255).astype(np.uint8)), quality=92) for each in noisy]


def test_copies_of_one_photo_are_each_compared_once_and_joined() -> None:
    """60 copies are 1,770 pairs that look alike; a tree of 59 joins them."""
    scene = photo(1)
    saved = [encoded(scene, quality=quality) for quality in range(40, 100)]
    prepared = [prepare_image(each, ImageLimits()) for each in saved]
    read: list[int] = []

    def staged(n: int) -> bytes:
        read.append(n)
        return prepared[n].data

    pairs, untold = same_pairs([str(n) for n in range(60)], [each.thumbnail for each in prepared], staged)
    assert len(pairs) == 59 and untold == [] and sorted(read) == list(range(60))
    images = [LabelledImage("test" if n == 37 else "train", "cat", f"{n}.jpg", str(n)) for n in range(60)]
    leaks = find_leaks(images, pairs)
    assert [leak.index for leak in leaks] == [n for n in range(60) if n != 37]
    assert {(leak.twin, leak.is_exact) for leak in leaks} == {(37, False)}


def test_when_more_photos_look_alike_than_can_be_compared_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.data.leakage.MOST_COMPARED", 100)
    prepared = [prepare_image(each, ImageLimits()) for each in frames(40)]
    digests, thumbnails = [str(n) for n in range(40)], [each.thumbnail for each in prepared]
    pairs, (told,) = same_pairs(digests, thumbnails, lambda n: prepared[n].data)
    assert told == (
        "so many photos look alike that 100 pairs were compared; of those that look alike, copies may be left"
    )
    assert pairs == []


def test_the_twin_that_is_named_is_a_copy_first_and_of_the_highest_split() -> None:
    images = [
        LabelledImage(split, "cat", f"{n}.jpg", digest)
        for n, (split, digest) in enumerate([("train", "a"), ("validation", "a"), ("test", "b"), ("test", "b")])
    ]
    leaks = find_leaks(images, [(0, 1), (1, 2), (2, 3)])
    assert [(leak.index, leak.twin, leak.is_exact) for leak in leaks] == [(0, 1, True), (1, 2, False)]
