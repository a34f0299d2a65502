"""Tests of judging a dataset: what is refused before anything is created, and what only gives a warning."""

from pathlib import Path

import pytest

from tasks.data.entries import Entry, Listing
from tasks.data.layout import LabelledImage, Layout, dataset_digest, judge, read_layout
from tasks.run.errors import DataRefused, SourceRefused
from tasks.run.records import Quarantined
from tasks.run.settings import Settings

SETTINGS = Settings()
CLASSES = ("cat", "dog")


def listing(*names: str, folders: tuple[str, ...] = ()) -> Listing:
    return Listing(Path("data.zip"), "zip", tuple(Entry(name, 1) for name in names), folders)


def full(*more: str, root: str = "") -> Listing:
    splits = [f"{root}{split}/{name}/1.jpg" for split in ("train", "valid", "test") for name in CLASSES]
    return listing(*splits, *more)


def images(train: int = 2, **more: int) -> list[LabelledImage]:
    """Return one validation and one test image of each class, and `train` train images or a number by class."""
    made = []
    for name in CLASSES:
        for split, count in (("train", more.get(name, train)), ("validation", 1), ("test", 1)):
            made += [LabelledImage(split, name, f"{split}/{name}/{n}", f"{split}{name}{n}") for n in range(count)]
    return made


LAYOUT = Layout(CLASSES, (), (), 0, ())


@pytest.mark.parametrize("root", ["", "dogImages/"])
def test_splits_are_found_with_and_without_a_leading_folder(root: str) -> None:
    layout = read_layout(full(root=root))
    assert layout.classes == CLASSES
    assert {candidate.split for candidate in layout.candidates} == {"train", "validation", "test"}


def test_files_that_no_one_would_miss_are_ignored_and_counted() -> None:
    assert read_layout(full("__MACOSX/train/._1.jpg", "train/.DS_Store", "README.txt")).ignored == 3


def test_an_image_outside_a_class_is_quarantined() -> None:
    assert read_layout(full("train/lost.jpg")).quarantined == (
        Quarantined("train/lost.jpg", "it is not in the folder of a class"),
    )


def test_an_unknown_folder_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(SourceRefused, match=r"unknown folder trian[\s\S]*rename it to train, if you meant that"):
        read_layout(full("trian/cat/9.jpg"))


def test_a_missing_split_is_refused() -> None:
    with pytest.raises(SourceRefused, match="has no validation and no test folder"):
        read_layout(listing("train/cat/1.jpg", "train/dog/1.jpg"))


def test_two_folders_of_one_split_are_refused() -> None:
    with pytest.raises(SourceRefused, match="the folders val and valid both exist"):
        read_layout(full("val/cat/1.jpg"))


def test_another_layout_is_refused_with_the_one_expected() -> None:
    with pytest.raises(SourceRefused, match=r"images must lie in train/<class>/"):
        read_layout(listing("a.jpg", "b/c.jpg"))


def test_a_folder_without_images_is_a_class_all_the_same() -> None:
    splits = full().entries
    assert read_layout(Listing(Path("x"), "zip", splits, ("train/wolf",))).classes == ("cat", "dog", "wolf")


def test_good_data_passes_without_a_warning() -> None:
    assert judge(LAYOUT, images(), (), SETTINGS) == ()


def test_the_same_image_in_two_splits_is_refused() -> None:
    leak = LabelledImage("test", "cat", "test/cat/copy", "traincat0")
    with pytest.raises(DataRefused, match="the same image is in two splits, 1 times: train/cat/0 = test/cat/copy"):
        judge(LAYOUT, [*images(), leak], (), SETTINGS)


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
    leak = LabelledImage("test", "cat", "copy", "traincat0")
    with pytest.raises(DataRefused, match=r"no good test image of class dog; the same image is in two splits"):
        judge(LAYOUT, [*kept, leak], (), SETTINGS)


@pytest.mark.parametrize("name", ["", " ", "\u200b"])
def test_a_class_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(SourceRefused, match="is blank"):
        read_layout(full(f"train/{name}/1.jpg"))


def test_imbalance_repeats_and_twin_names_are_warned_of() -> None:
    again = LabelledImage("train", "dog", "again", "traincat0")
    twins = read_layout(full("train/Dog/1.jpg")).warnings
    unseen = read_layout(full("train/dog \u200b/1.jpg")).warnings
    warnings = judge(LAYOUT, [*images(cat=100), again], (), SETTINGS)
    differ = "look alike (case, Unicode form, blanks)"
    assert twins == (f"classes Dog, dog {differ}: train/Dog/1.jpg, train/dog/1.jpg",)
    assert unseen[0].startswith("classes dog, dog ") and differ in unseen[0]
    assert warnings == (
        "the classes are unbalanced: the train split has 100 of cat and 3 of dog",
        "1 images are exact copies of another image in their split: train/cat/0 = again",
        "1 images are in more than one class: cat and dog (train/cat/0 = again)",
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
