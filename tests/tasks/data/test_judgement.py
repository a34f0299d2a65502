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
    warnings = warnings_of(layout, found, settings, leaks)
    refuse(problems_of(layout, found, quarantined, settings), warnings)
    return warnings


def test_good_data_passes_without_a_warning() -> None:
    assert judge(LAYOUT, images(), (), SETTINGS) == ()


def test_a_class_without_an_image_in_a_split_is_refused() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("validation", "dog")]
    with pytest.raises(DataRefused, match="no usable photo of the class dog in validation"):
        judge(LAYOUT, kept, (), SETTINGS)


def test_one_class_is_refused() -> None:
    only = [image for image in images() if image.class_name == "cat"]
    with pytest.raises(DataRefused, match="1 class found, at least 2 are needed"):
        judge(Layout(("cat",), (), (), 0, ()), only, (), SETTINGS)


def test_more_broken_images_than_allowed_stop_the_run_with_their_reasons() -> None:
    broken = [Quarantined(f"{n}.jpg", "it is empty (0 bytes)") for n in range(2)]
    with pytest.raises(
        DataRefused,
        match=r"2 of 10 files cannot be used, more than the 5.0% allowed \(2 x it is empty \(0 bytes\) \(0.jpg and",
    ):
        judge(LAYOUT, images(), broken, SETTINGS)
    assert judge(LAYOUT, images(), broken, Settings(max_quarantined_fraction=0.2)) == ()


def test_every_problem_is_named_at_once() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("test", "dog")]
    broken = [Quarantined(f"{n}.jpg", "it is empty (0 bytes)") for n in range(2)]
    leaks = ["1 photos of train are also in test"]
    with pytest.raises(
        DataRefused, match=r"2 of 9 files[\s\S]*; no usable photo of the class dog in test; 1 photos of train are"
    ):
        judge(LAYOUT, kept, broken, SETTINGS, leaks)


def test_imbalance_is_warned_of() -> None:
    warnings = judge(LAYOUT, images(cat=100), (), SETTINGS)
    assert warnings == ("the classes are unbalanced: the train split has 100 of cat and 2 of dog",)


def test_splits_without_a_common_class_are_one_problem_with_examples() -> None:
    numbered = [LabelledImage("test", name, f"test/{name}.jpg", name) for name in ("0", "1")]
    layout = Layout((*CLASSES, "0", "1"), (), (), 0, ())
    found = [*(image for image in images() if image.split != "test"), *numbered]
    assert problems_of(layout, found, (), SETTINGS) == [
        "train and test have no class in common: train has cat and dog, test has 0 and 1; "
        "give the same classes the same names"
    ]


def test_classes_that_lack_photos_in_the_same_splits_are_one_problem() -> None:
    lacking = Layout((*CLASSES, "owl", "fox"), (), (), 0, ())
    assert problems_of(lacking, images(), (), SETTINGS) == [
        "no usable photo of the classes owl, fox in train, validation and test"
    ]


def test_files_that_are_broken_for_one_reason_are_told_together() -> None:
    broken = [Quarantined(f"{n}.tif", "it is a TIFF with 13 bands, which is not read") for n in range(8)]
    (problem,) = problems_of(LAYOUT, images(), broken, SETTINGS)
    assert problem.endswith("(8 x it is a TIFF with 13 bands, which is not read (0.tif, 1.tif, 2.tif and 5 more))")


def test_the_digest_depends_on_content_and_rules_and_not_on_order_or_names() -> None:
    one = dataset_digest(CLASSES, images(), {"side": 256})
    renamed = [LabelledImage(i.split, i.class_name, "other", i.source_sha256) for i in reversed(images())]
    assert dataset_digest(CLASSES, renamed, {"side": 256}) == one
    assert dataset_digest(CLASSES, images(), {"side": 128}) != one
    assert dataset_digest(CLASSES, images(3), {"side": 256}) != one


def test_a_class_that_is_too_small_to_be_split_is_told_how_many_photos_it_needs() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("test", "dog")]
    layout = Layout(CLASSES, (), (), 0, (), made=SPLITS)
    with pytest.raises(DataRefused, match=r"of the class dog in test \(to be split, a class needs 3 different"):
        judge(layout, kept, (), SETTINGS)


def test_classes_that_look_alike_are_named_when_one_of_them_lacks_photos() -> None:
    kept = [image for image in images() if (image.split, image.class_name) != ("test", "dog")]
    layout = Layout(CLASSES, (), (), 0, ("classes Dog, dog look alike",))
    with pytest.raises(DataRefused, match="no usable photo of the class dog in test; classes Dog, dog look alike"):
        judge(layout, kept, (), SETTINGS)


def test_notes_about_pictures_are_one_warning_each_with_the_first_names() -> None:
    noted = [(f"{n}.gif", ("only the first frame is used",)) for n in range(7)]
    assert note_warnings([("a.jpg", ()), *noted]) == [
        "7 photos: only the first frame is used: 0.gif, 1.gif, 2.gif, 3.gif, 4.gif and 2 more"
    ]
