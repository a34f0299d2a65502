"""Tests of folders with splits beside other folders: no folder that has splits with the same classes is a class."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.data.entries import Entry, Listing
from tasks.data.layout import read_layout
from tasks.run.errors import SourceRefused
from tests.tasks.data.tables import read

SPLIT = [f"{split}/{name}/{n}.jpg" for split in ("TRAIN", "TEST") for name in ("a", "b", "c", "d") for n in range(3)]


def below(folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in SPLIT]


def loose(folder: str) -> list[str]:
    return [f"{folder}{n}0.jpg" for n in range(12)]


def refused(names: Sequence[str]) -> SourceRefused:
    listing = Listing(Path("set"), "folder", tuple(Entry(name, 1) for name in names), (), root=Path("set"))
    for level in ("auto", "first", "last"):
        with pytest.raises(SourceRefused) as caught:
            read_layout(listing, class_folder=level)
    return caught.value


def test_a_folder_with_splits_beside_loose_photos_is_no_class() -> None:
    error = refused([*loose("set1/images/"), *below("set2/images")])
    assert error.why == (
        "set2/images/ has splits (TEST and TRAIN) with the same classes in them (a, b, c and d); "
        "the photos of set1/ are in no folder of a split or class"
    )
    assert error.next_command.startswith(
        "give set2/images/: kennel inspect set/set2/images (for kennel run: --data set/set2/images), "
        "or move set1/ out of the data"
    )


@pytest.mark.parametrize(
    ("others", "shown"),
    [(loose("extra/"), "extra/"), (loose("images/"), "images/"), (loose(""), "12 photos beside the folders")],
)
def test_loose_photos_beside_the_folder_with_splits_are_named_as_the_cause(others: list[str], shown: str) -> None:
    error = refused([*others, *below("data")])
    assert f"the photos of {shown} are in no folder of a split or class" in error.why
    assert "give data/: kennel inspect set/data (" in error.next_command
    assert f"move {shown} out of the data" in error.next_command


def test_folders_that_all_have_splits_with_the_same_classes_are_no_classes() -> None:
    error = refused([*below("one"), *below("two")])
    assert "one/ and two/ each have splits" in error.why and "no classes themselves" in error.why
    assert "give one of the folders: kennel inspect set/one (" in error.next_command


def test_splits_by_other_words_beside_loose_photos_are_no_classes() -> None:
    names = [name.replace("TRAIN", "seg_train").replace("TEST", "seg_test") for name in SPLIT]
    error = refused([*names, *loose("extra/")])
    assert error.next_command.startswith("move extra/ out of the data; ")


def test_classes_that_have_splits_of_loose_photos_and_a_table_of_the_user_stay() -> None:
    own = [f"{name}/{split}/{n}.jpg" for name in ("cat", "dog") for split in ("train", "test") for n in range(4)]
    layout, placed = read(own, {})
    assert layout.classes == ("cat", "dog") and placed["cat/test/1.jpg"] == ("test", "cat")
    photos = [*loose("extra/"), *below("data")]
    lines = "".join(f"{name},{'x' if 'a' in name.split('/')[2:] else 'y'}\n" for name in photos)
    layout, _ = read(photos, {"labels.csv": f"file_name,label\n{lines}".encode()})
    assert layout.classes == ("x", "y")
