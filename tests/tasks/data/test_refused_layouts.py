"""Tests of sources that have no layout that is read: each is refused with what was seen and what fits it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tasks.data.entries import Entry, Listing
from tasks.data.layout import read_layout
from tasks.run.errors import SourceRefused


def refused(names: Sequence[str], tables: Mapping[str, str] | None = None) -> SourceRefused:
    """Return the refusal of a source with these files; tables are given with their content."""
    content = {name: text.encode() for name, text in (tables or {}).items()}
    entries = tuple(Entry(name, len(content.get(name, b"1"))) for name in (*names, *content))
    with pytest.raises(SourceRefused) as found:
        read_layout(Listing(Path("data.zip"), "zip", entries, ()), lambda entry: content.get(entry.name, b"1"))
    assert "correct the data" not in found.value.next_command
    return found.value


def numbered(folder: str, ending: str = "jpg", *, count: int = 8, first: int = 0) -> list[str]:
    return [f"{folder}{3 * n:06d}.{ending}" for n in range(first, first + count)]


VOC = [*numbered("VOC/JPEGImages/"), *numbered("VOC/Annotations/", "xml"), "VOC/ImageSets/Main/train.txt"]
DETECTION = {
    "voc": (VOC, "object detection (Pascal VOC)"),
    "voc with masks": (
        [*VOC, *numbered("VOC/SegmentationClass/", "png"), *numbered("VOC/SegmentationObject/", "png", count=4)],
        "12 files are masks of photos; they are data for object detection (Pascal VOC) and segmentation",
    ),
    "coco": (
        [*numbered("train2017/"), *numbered("val2017/", first=8), "annotations/instances_train2017.json"],
        "instances_train2017.json; they are data for object detection (COCO)",
    ),
    "coco of roboflow": ([*numbered("train/"), "train/_annotations.coco.json"], "object detection (COCO)"),
    "yolo": (
        [*numbered("images/train/"), *numbered("labels/train/", "txt"), *numbered("images/val/", first=8), "data.yaml"],
        "8 of 16 photos have a .txt of their name; they are data for object detection (YOLO)",
    ),
    "yolo in splits": (
        [*numbered("train/images/"), *numbered("train/labels/", "txt"), *numbered("valid/images/", first=20, count=3)],
        "object detection (YOLO)",
    ),
    "masks": ([*numbered("images/"), *numbered("masks/", "png")], "8 files are masks of photos"),
    "masks by their endings": (
        [*numbered("input/"), *(name.replace(".", "_segmentation.") for name in numbered("ground_gt/", "png"))],
        "masks of photos",
    ),
}


@pytest.mark.parametrize("kind", list(DETECTION))
def test_data_for_detection_and_segmentation_is_named_and_no_folder_of_it_is_a_class(kind: str) -> None:
    names, seen = DETECTION[kind]
    error = refused(names)
    assert seen in error.why
    assert "write a labels.csv with the columns file_name and label, or cut the boxes out" in error.next_command


def test_folders_that_share_most_names_are_no_classes_unless_the_names_are_numbers() -> None:
    days = [f"2021-{month:02d}-{day:02d}T{day * month}" for month in range(1, 9) for day in (3, 17)]
    error = refused([f"{folder}/{day}.png" for folder in ("rgb", "depth") for day in days])
    assert error.why.startswith("most files of depth/ and rgb/ have the same names")
    fonts = [f"{letter}/{day}.png" for letter in "ABCDE" for day in days]
    warned = read_layout(Listing(Path("x"), "zip", tuple(Entry(name, 1) for name in fonts), ()))
    assert len(warned.classes) == 5 and warned.warnings[0].startswith("most files of A/ and B/ have the same names: if")
    counted = Listing(
        Path("x"), "zip", tuple(Entry(f"{name}/IMG_{n}.jpg", 1) for name in "ab" for n in range(40, 60)), ()
    )
    assert read_layout(counted).classes == ("a", "b")


def test_masks_beside_the_photos_of_classes_are_left_out() -> None:
    names = [f"{name}/{kind}/{n}.png" for name in ("flu", "normal") for kind in ("images", "masks") for n in range(6)]
    layout = read_layout(Listing(Path("x"), "zip", tuple(Entry(name, 1) for name in names), ()))
    assert (layout.classes, len(layout.candidates), len(layout.unused)) == (("flu", "normal"), 12, 12)
    assert "12 files look like photos and are not used: it is a mask of the photo" in layout.warnings[0]


def test_classes_that_are_named_for_masks_are_classes() -> None:
    names = [f"{name}/{n}.jpg" for name in ("mask", "no_mask") for n in range(8)]
    assert len(read_layout(Listing(Path("x"), "zip", tuple(Entry(n, 1) for n in names), ())).candidates) == 16


def test_boxes_beside_the_photos_of_classes_change_nothing() -> None:
    names = [*numbered("cat/"), *numbered("dog/", first=8), *numbered("cat/", "xml"), *numbered("dog/", "xml", first=8)]
    layout = read_layout(Listing(Path("x"), "zip", tuple(Entry(name, 1) for name in names), ()))
    assert (layout.classes, len(layout.candidates)) == (("cat", "dog"), 16)


@pytest.mark.parametrize(
    ("names", "what", "why"),
    [
        (["a.jpg", "b/c.jpg"], "b/ 1 photo; 1 photo in no folder", "1 photo lies beside the folders"),
        (["jpg/image_00001.jpg", "jpg/image_00002.jpg", "imagelabels.mat"], "jpg/ 2 photos", "no table names them"),
        (["notes.txt"], "contains no photo", "it has only 1 .txt"),
        ([], "contains nothing", "it has no file"),
        (["a.zip", "b.zip", "c.rar"], "contains 2 .zip and 1 .rar and no photo", "what is in them is not read"),
    ],
    ids=["mixed", "flowers", "text", "nothing", "archives"],
)
def test_another_layout_is_refused_with_what_was_found(names: list[str], what: str, why: str) -> None:
    error = refused(names)
    assert what in error.what and why in error.why


@pytest.mark.parametrize("root", ["images/", "train/", ""])
def test_words_that_the_names_begin_with_are_told_with_a_table_that_would_do(root: str) -> None:
    names = [
        f"{root}{word}{n}.jpg" for word in ("Abyssinian_", "american_bulldog_", "cat.", "Dog (") for n in range(1, 5)
    ]
    error = refused([name.replace("(4", "(4)") for name in names])
    assert f"all 16 photos are in {root or 'no folder'}" in error.what
    assert "begin with 4 words (Abyssinian, american_bulldog, cat, Dog)" in error.why
    assert f"file_name,label / {root}Abyssinian_1.jpg,Abyssinian" in error.next_command


TABLES = {
    "several classes": (
        {"train/_classes.csv": "filename, cat, dog\n000000.jpg, 1, 1\n000003.jpg, 0, 1\n"},
        "train/_classes.csv (its header is filename, cat, dog) gives several classes of one photo, 000000.jpg (cat, d",
    ),
    "boxes": (
        {"boxes.csv": "filename,class,xmin\n000000.jpg,cat,1\n000000.jpg,dog,2\n000003.jpg,dog,3\n000006.jpg,cat,1\n"},
        "gives several classes of one photo, 000000.jpg (cat, dog)",
    ),
    "no file": (
        {"labels.csv": "name,label\nx.jpg,cat\ny.jpg,dog\n"},
        "labels.csv (its header is name, label) has names of the photos here in none of its columns",
    ),
    "no class": (
        {"labels.csv": "file,a,b\n000000.jpg,x,1\n000003.jpg,x,2\n000006.jpg,y,2\n000009.jpg,y,1\n"},
        "has no column that is named label or class, and which of a, b has the classes cannot be told",
    ),
    "only names": ({"labels.csv": "file\n000000.jpg\n000003.jpg\n"}, "has no column of classes"),
}


@pytest.mark.parametrize("kind", list(TABLES))
def test_a_table_that_is_not_understood_is_named_with_its_header_and_what_is_missing(kind: str) -> None:
    tables, why = TABLES[kind]
    error = refused(numbered("train/"), tables)
    assert why in error.why and "has the columns file_name and label" in error.next_command


def test_several_tables_with_one_reason_are_told_once() -> None:
    error = refused(numbered("train/"), dict.fromkeys(("labels.csv", "a/labels.csv"), "name,label\nx.jpg,cat\n"))
    assert error.why.count("in none of its columns") == 1 and "; the same holds for " in error.why


def test_a_table_in_an_old_encoding_is_refused() -> None:
    content = "file;label\n000000.jpg;Äpfel\n".encode("cp1252")
    entries = tuple(Entry(name, 1) for name in (*numbered("train/"), "labels.csv"))
    with pytest.raises(SourceRefused, match=r"labels\.csv is not UTF-8: save it as CSV UTF-8"):
        read_layout(Listing(Path("x"), "zip", entries, ()), lambda _: content)
