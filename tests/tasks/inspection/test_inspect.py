"""Tests of inspecting a whole source: what is found, what a person sees, and that nothing needs AWS."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tasks.data.examination import examine_source
from tasks.data.staging import locate, spool_directory
from tasks.inspection.captions import apart
from tasks.inspection.examples import examples_of
from tasks.inspection.inspect import PAGE, RECORD, found_pairs, inspect_source
from tasks.inspection.page import inspection_page
from tasks.inspection.record import Inspection
from tasks.inspection.sampling import stratified
from tasks.run.progress import LoggedProgress
from tasks.run.sealed import unseal
from tasks.run.settings import Settings
from tests.tasks.data.datasets import encoded, write_folder
from tests.training.datasets import picture

SPLITS = {"train": range(14), "valid": range(20, 24), "test": range(30, 34)}
CLASSES = ("apple", "moss", "sky")


def photos() -> dict[str, bytes]:
    """Return photos of three classes with one of each defect."""
    files = {
        f"{split}/{label}/{number:02d}.jpg": picture(label, number)
        for split, numbers in SPLITS.items()
        for label in CLASSES
        for number in numbers
    }
    files["train/apple/05.jpg"] = picture("sky", 99)  # labelled wrongly
    whole = Image.open(io.BytesIO(picture("moss", 3)))
    files["train/moss/03.jpg"] = encoded(whole.point(lambda level: level // 20))
    soft = Image.open(io.BytesIO(picture("sky", 4))).filter(ImageFilter.GaussianBlur(60))
    files["train/sky/04.jpg"] = encoded(soft, quality=95)
    again = Image.open(io.BytesIO(picture("sky", 31)))
    files["train/sky/07.jpg"] = encoded(again, quality=50)  # nearly test/sky/31.jpg
    files["train/moss/09.jpg"] = b"<!DOCTYPE html><title>Sign in</title>"
    return files


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def inspected(folder: Path, home: Path, sample: int = 2000) -> tuple[Inspection, Path]:
    used = Settings(home=home, max_quarantined_fraction=0.1)
    target = home / "inspections" / folder.name
    source = locate(str(folder), used, LoggedProgress)
    return inspect_source(source, used, LoggedProgress, target, sample=sample), target


@pytest.fixture(scope="module")
def found(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Inspection, Path]:
    folder = write_folder(tmp_path_factory.mktemp("photos") / "fruit", photos())
    return inspected(folder, home)


def test_each_defect_is_found_and_nothing_that_is_right(found: tuple[Inspection, Path]) -> None:
    inspection, _ = found
    assert inspection.is_accepted and inspection.images == 64
    assert [(each.name, each.text) for each in inspection.suspects] == [
        ("train/apple/05.jpg", "100% of its neighbours are sky")
    ]
    assert [each.name for each in inspection.dark] == ["train/moss/03.jpg"]
    assert "train/sky/04.jpg" in {each.name for each in inspection.blurred}
    assert [(each.name, each.twin, each.is_exact) for each in inspection.pairs] == [
        ("train/sky/07.jpg", "test/sky/31.jpg", False)
    ]
    assert {each.name for each in inspection.left_out} == {"train/moss/09.jpg", "train/sky/07.jpg"}
    assert inspection.shortest_sides == (260, 260, 260) and inspection.smaller_than_crop == 0


def test_the_expected_accuracy_and_the_time_rest_on_what_was_measured(found: tuple[Inspection, Path]) -> None:
    inspection, _ = found
    assert inspection.accuracy is not None and inspection.training is not None
    assert inspection.embedded == 64 and {each.photos for each in inspection.accuracy.estimates} == {64}
    assert 0.8 < inspection.accuracy.low < 63 / 64 < inspection.accuracy.high
    training = inspection.training
    assert training.passes == 8 * 40 + 12 + 12
    assert training.seconds == pytest.approx(training.passes / training.photos_per_second)
    assert training.usd_per_hour and training.usd == pytest.approx(
        training.usd_per_hour * max(60, training.seconds) / 3600
    )


def test_the_page_shows_what_the_record_has(found: tuple[Inspection, Path]) -> None:
    inspection, folder = found
    record = unseal((folder / RECORD).read_bytes())
    assert record["images"] == inspection.images and record["suspects"][0]["name"] == "train/apple/05.jpg"
    page = (folder / PAGE).read_text()
    for told in (
        "accepted",
        "Labels to look at",
        "Dark photos",
        "Blurred photos",
        "nearly the same",
        "a web page (HTML)",
    ):
        assert told in page
    assert "<b>sky</b>: much less sharp than the others<br>" in page and "a plain background" in page
    assert "<dt>photos left out</dt><dd>2</dd>" in page and '<span class="date">20' in page
    assert page.count("data:image/jpeg;base64,") >= 3 * 3 + 4 and "<script" not in page


def test_the_page_of_data_with_warnings_is_not_accepted_in_green(found: tuple[Inspection, Path]) -> None:
    inspection, folder = found
    page = (folder / PAGE).read_text()
    assert f'<b class="open">accepted</b>with {len(inspection.warnings)} warning' in page
    read = "Read it first" if len(inspection.warnings) == 1 else "Read them first"
    assert f"{read}.</li>" in page and "the classes may not be the ones" not in page
    assert 'class="good"' not in page and "64 photos of 3 classes" in page


def test_the_page_doubts_the_classes_only_by_warnings_about_classes(found: tuple[Inspection, Path]) -> None:
    bare = replace(found[0], warnings=("one", "two"), suspects=(), pairs=(), dark=(), bright=(), blurred=(), counts={})
    assert "Read them first, because the classes may not be the ones you meant." in inspection_page(
        bare, {}, "", ["two"]
    )
    assert "Read them first.</li>" in inspection_page(bare, {}, "")


def test_a_pair_is_told_by_what_differs_in_its_names(found: tuple[Inspection, Path]) -> None:
    page = (found[1] / PAGE).read_text()
    assert "<b>sky, train</b><br>train/<wbr>sky/<wbr>07.<wbr>jpg" in page and "nearly the same</figcaption>" in page
    assert "In 1 pair they are in two splits" in page
    assert apart("set/cat/1.jpg", "set/dog/1.jpg") == ("set", "cat/", "dog/", "1.jpg")
    assert apart("set/cat/1.jpg", "set/cat/2.jpg") == ("set/cat", "1.jpg", "2.jpg", "")
    assert apart("1.jpg", "old/1.jpg") == ("", "1.jpg", "old/1.jpg", "")


def test_the_pictures_of_a_class_are_no_copies_of_each_other(home: Path, tmp_path: Path) -> None:
    files = {f"{label}/{number}.jpg": picture(label, number) for label in CLASSES for number in range(10)}
    first = Image.open(io.BytesIO(picture("moss", 0)))
    files |= {f"moss/0-{quality}.jpg": encoded(first, quality=quality) for quality in (60, 70, 80)}
    used = Settings(home=home)
    source = locate(str(write_folder(tmp_path / "copies", files)), used, LoggedProgress)
    with spool_directory(used) as spool:
        examined = examine_source(source, used, spool, LoggedProgress)
        images = {image.name: image for image in examined.everything}
        shown = examples_of(images, found_pairs(examined), 3)
    assert len(examined.twins) == 3
    assert {name: len(photos) for name, photos in shown.items()} == dict.fromkeys(CLASSES, 3)
    assert sum(image.name.startswith("moss/0") for image in shown["moss"]) == 1


def test_data_that_would_be_refused_is_inspected_all_the_same(home: Path, tmp_path: Path) -> None:
    files = {name: data for name, data in photos().items() if not name.startswith("test/sky")}
    inspection, folder = inspected(write_folder(tmp_path / "lacking", files), home, sample=0)
    assert not inspection.is_accepted and "no usable photo of the class sky in test" in inspection.problems[0]
    assert inspection.embedded == 0 and inspection.accuracy is None and inspection.training is None
    assert "refused" in (folder / PAGE).read_text()
    assert json.loads((folder / RECORD).read_text())["problems"]


def test_a_sample_has_each_class_alike_and_is_the_same_again() -> None:
    random = np.random.default_rng(0)
    labels = [0] * 50 + [1] * 5 + [2] * 50
    digests = [f"{value:08x}" for value in random.permutation(len(labels))]
    chosen = stratified(labels, digests, 30)
    assert [sum(labels[index] == label for index in chosen) for label in range(3)] == [14, 2, 14]
    assert chosen == stratified(labels, digests, 30) == sorted(chosen)
    assert stratified(labels, digests, 200) == list(range(105))
