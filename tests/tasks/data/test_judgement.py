"""Tests of judging a dataset: what is refused before anything is created, and what only gives a warning."""

from collections.abc import Sequence

import pytest

from tasks.data.judgement import LabelledImage, dataset_digest, note_warnings, problems_of, refuse, warnings_of
from tasks.data.layout import Layout
from tasks.run.errors import DataRefused
from tasks.run.records import SPLITS, Quarantined
from tasks.run.settings import Settings

SETTINGS = Settings()
CLASSES = ("cat", "dog")


def images(train: int = 2, **more: int) -> list[LabelledImage]:
    """Return one validation and one test image of each class, and `train` train images or a number by class."""
    made = []
    for name in CLASSES:
        for split, count in (("train", more.get(name, train)), ("validation", 1), ("test", 1)):
            made += [LabelledImage(split, name, f"{split}/{name}/{n}", f"{split}{name}{n}") for n in range(count)]
    return made


LAYOUT = Layout(CLASSES, (), (), 0, ())


def judge(
    layout: Layout,
    found: list[LabelledImage],
    quarantined: Sequence[Quarantined],
    settings: Settings,
    leaks: Sequence[str] = (),
) -> tuple[str, ...]:
    """Refuse data or return its warnings, as staging does."""
    refuse(problems_of(layout, found, quarantined, settings, leaks))
    return warnings_of(layout, found, settings, leaks)


def test_good_data_passes_without_a_warning() -> None:
    assert judge(LAYOUT, images(), (), SETTINGS) == ()


def test_a_class_without_an_image_in_a_split_is_refused() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("validation", "dog")]
    with pytest.raises(DataRefused, match="no good validation image of class dog"):
        judge(LAYOUT, kept, (), SETTINGS)


def test_one_class_is_refused() -> None:
    only = [image for image in images() if image.class_name == "cat"]
    with pytest.raises(DataRefused, match="1 class found, at least 2 are needed"):
        judge(Layout(("cat",), (), (), 0, ()), only, (), SETTINGS)


def test_more_broken_images_than_allowed_stop_the_run_with_their_reasons() -> None:
    broken = [Quarantined(f"{n}.jpg", "it is empty (0 bytes)") for n in range(2)]
    with pytest.raises(
        DataRefused, match=r"2 of 10 files cannot be used, more than the 5.0% allowed \(0.jpg: it is empty"
    ):
        judge(LAYOUT, images(), broken, SETTINGS)
    assert judge(LAYOUT, images(), broken, Settings(max_quarantined_fraction=0.2)) == ()


def test_every_problem_is_named_at_once() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("test", "dog")]
    broken = [Quarantined(f"{n}.jpg", "it is empty (0 bytes)") for n in range(2)]
    leaks = ["1 photos of train are also in test"]
    with pytest.raises(
        DataRefused, match=r"2 of 9 files[\s\S]*; no good test image of class dog; 1 photos of train are"
    ):
        judge(LAYOUT, kept, broken, SETTINGS, leaks)


def test_imbalance_and_repeats_are_warned_of() -> None:
    again = LabelledImage("train", "dog", "again", "traincat0")
    warnings = judge(LAYOUT, [*images(cat=100), again], (), SETTINGS)
    assert warnings == (
        "the classes are unbalanced: the train split has 100 of cat and 3 of dog",
        "1 image is an exact copy of another image in the same split: train/cat/0 = again",
        "1 image is in more than one class: cat and dog (train/cat/0 = again)",
    )


def test_warnings_name_the_first_files_and_the_number_of_the_others() -> None:
    copies = [LabelledImage("train", "cat", f"copy{n}.jpg", "traincat0") for n in range(8)]
    (warning,) = judge(LAYOUT, [*images(), *copies], (), SETTINGS)
    assert warning.startswith("8 images are exact copies") and warning.count("copy") == 5
    assert warning.endswith("copy4.jpg and 3 more")


def test_the_digest_depends_on_content_and_rules_and_not_on_order_or_names() -> None:
    one = dataset_digest(CLASSES, images(), {"side": 256})
    renamed = [LabelledImage(i.split, i.class_name, "other", i.source_sha256) for i in reversed(images())]
    assert dataset_digest(CLASSES, renamed, {"side": 256}) == one
    assert dataset_digest(CLASSES, images(), {"side": 128}) != one
    assert dataset_digest(CLASSES, images(3), {"side": 256}) != one


def test_a_class_that_is_too_small_to_be_split_is_told_how_many_photos_it_needs() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("test", "dog")]
    layout = Layout(CLASSES, (), (), 0, (), made=SPLITS)
    with pytest.raises(DataRefused, match=r"no good test image of class dog \(a class needs 3 photos to be split\)"):
        judge(layout, kept, (), SETTINGS)


def test_classes_that_look_alike_are_named_when_one_of_them_lacks_photos() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("test", "dog")]
    layout = Layout(CLASSES, (), (), 0, ("classes Dog, dog look alike",))
    with pytest.raises(DataRefused, match="no good test image of class dog; classes Dog, dog look alike"):
        judge(layout, kept, (), SETTINGS)


def test_notes_about_pictures_are_one_warning_each_with_the_first_names() -> None:
    noted = [(f"{n}.gif", ("only the first frame is used",)) for n in range(7)]
    assert note_warnings([("a.jpg", ()), *noted]) == [
        "7 images: only the first frame is used: 0.gif, 1.gif, 2.gif, 3.gif, 4.gif and 2 more"
    ]
