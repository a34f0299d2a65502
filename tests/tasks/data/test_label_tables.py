"""Tests of tables of labels in the forms that people export: which photo has which class, and what is said of it."""

import pytest

from tasks.run.records import SPLITS
from tests.tasks.data.tables import read

PHOTOS = [f"images/img_{n}.jpg" for n in range(8)]
CLASSES = {name: ("cat", "dog")[n % 2] for n, name in enumerate(PHOTOS)}


def rows(form: str, *, separator: str = "\n") -> str:
    return separator.join(
        form.format(path=name, file=name[7:], stem=name[7:-4], label=label) for name, label in CLASSES.items()
    )


FORMS = {
    "semicolons": ("labels.csv", f"file_name;label\n{rows('{path};{label}')}"),
    "tabs": ("labels.tsv", f"file_name\tlabel\n{rows('{file}	{label}')}"),
    "byte order mark": (
        "labels.csv",
        f"\ufefffile_name,label\r\n{rows('{path},{label}', separator=chr(13) + chr(10))}",
    ),
    "quotes": ("labels.csv", f'"file_name","label"\n{rows(chr(34) + "./{path}" + chr(34) + ",{label}")}'),
    "backslashes": ("labels.csv", "file_name,label\n" + rows("{path},{label}").replace("/", "\\")),
    "no endings": ("labels.csv", f"id,breed\n{rows('{stem},{label}')}"),
    "another name": ("export.csv", f"photo_of_pet,kind_of_pet\n{rows('{file},{label}')}"),
    "more columns": ("animals.csv", f"nr,picture,animal\n1,{rows('{file},{label}', separator=chr(10) + '1,')}"),
    "no header": ("all_data.csv", rows("gs://bucket/pets/{path},{label}")),
    "whole paths": ("labels.csv", f"path,class\n{rows('/home/me/pets/{path},{label}')}"),
    "one-hot": (
        "_classes.csv",
        "filename, cat, dog\n" + rows("{file}, {label}").replace(", cat", ", 1, 0").replace(", dog", ", 0, 1"),
    ),
    "lines of JSON": ("metadata.jsonl", rows('{{"file_name": "{path}", "label": "{label}", "objects": []}}')),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_table_gives_the_classes_and_is_named_with_its_column(form: str) -> None:
    table, text = FORMS[form]
    layout, placed = read(PHOTOS, {table: text.encode()})
    assert {name: label for name, (_, label) in placed.items()} == CLASSES
    assert layout.notes[0].startswith(f"the classes of 8 photos are from {table}, ")
    assert (len(layout.notes), layout.warnings, layout.ignored, layout.made) == (1, (), 0, SPLITS)


def test_a_table_of_excel_in_utf_16_is_read() -> None:
    text = FORMS["tabs"][1].encode("utf-16")
    assert len(read(PHOTOS, {"labels.csv": text})[1]) == 8


def test_a_table_of_google_has_the_splits_in_its_first_column() -> None:
    words = ("TRAIN", "TRAIN", "TRAIN", "TRAIN", "VALIDATION", "VALIDATION", "TEST", "TEST")
    lines = rows("gs://project-vcm/waste/{path},{label}").splitlines()
    text = "\n".join(f"{word},{line}" for word, line in zip(words, lines, strict=True))
    layout, placed = read(PHOTOS, {"all_data.csv": text.encode()})
    assert [split for split, _ in placed.values()] == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    assert layout.notes == ("the classes of 8 photos are from all_data.csv, column 3",)


def test_tables_in_the_folders_of_splits_name_the_photos_there() -> None:
    photos = [f"{split}/{n}.jpg" for split in ("train", "valid", "test") for n in range(4)]
    table = b"filename, daisy, rose\n0.jpg, 1, 0\n1.jpg, 0, 1\n2.jpg, 1, 0\n3.jpg, 0, 1\n"
    layout, placed = read(photos, {f"{split}/_classes.csv": table for split in ("train", "valid", "test")})
    assert placed["valid/1.jpg"] == ("validation", "rose") and len(placed) == 12
    assert layout.notes == ("the classes of 12 photos are from 3 files _classes.csv, a column for each class",)


def test_photos_that_the_table_does_not_name_are_told_by_their_folders() -> None:
    photos = [f"train/{n}.jpg" for n in range(9)] + [f"test/x{n}.jpg" for n in range(3)]
    text = "id,breed\n" + "\n".join(f"{n},{('cat', 'dog')[n % 2]}" for n in range(8))
    submission = b"id,cat,dog\nx0,0.5,0.5\nx1,0.5,0.5\nx2,0.5,0.5\n"
    layout, placed = read(photos, {"labels.csv": text.encode(), "sample_submission.csv": submission})
    assert len(placed) == 8
    assert layout.warnings == (
        "labels.csv does not name the 3 photos of test/, which are not used",
        "labels.csv does not name 1 of the 9 photos of train/ (train/8.jpg), which is not used",
    )
    assert layout.notes[1] == "1 .csv is not a photo and is not used (sample_submission.csv)"


def test_a_row_of_one_split_does_not_name_a_photo_of_another() -> None:
    photos = [f"Train/{n}.jpg" for n in range(8)]
    test = "\n".join(f"Test/{n}.jpg,{('cat', 'dog')[n % 2]}" for n in range(8))
    train = "\n".join(f"Train/{n}.jpg,{('dog', 'cat')[n % 2]}" for n in range(8))
    _, placed = read(photos, {"Test.csv": f"Path,Class\n{test}".encode(), "Train.csv": f"Path,Class\n{train}".encode()})
    assert placed == {f"Train/{n}.jpg": (None, ("dog", "cat")[n % 2]) for n in range(8)}


def test_a_table_decides_where_the_folders_are_no_classes() -> None:
    photos = [*(f"JPEGImages/{n}.jpg" for n in range(4)), *(f"more/{n}.jpg" for n in range(4, 8)), "8.jpg"]
    boxes = [f"Annotations/{n}.xml" for n in range(8)]
    text = "file_name,label\n" + "\n".join(f"{name},{('cat', 'dog')[n % 2]}" for n, name in enumerate(photos))
    layout, placed = read([*photos, *boxes], {"labels.csv": text.encode()})
    assert (layout.classes, len(placed), layout.made) == (("cat", "dog"), 9, SPLITS)


def test_splits_in_the_folders_of_classes_are_taken_and_told() -> None:
    photos = [f"fruit/{name}/{split}/{n}.jpg" for name in "abc" for split in ("TRAIN", "Test", "valid") for n in "12"]
    layout, placed = read(photos, {})
    assert (layout.classes, layout.made) == (("a", "b", "c"), ())
    assert placed["fruit/b/Test/1.jpg"] == ("test", "b") and placed["fruit/c/valid/2.jpg"] == ("validation", "c")
    assert layout.notes == ("the splits are in the folders of the classes, such as a/TRAIN and a/Test",)


def test_splits_in_a_few_classes_are_told_and_not_taken() -> None:
    photos = [f"{name}/{n}.jpg" for name in "abcde" for n in "12"] + ["a/train/3.jpg", "a/test/4.jpg"]
    layout, placed = read(photos, {})
    assert placed["a/test/4.jpg"] == (None, "a")
    assert layout.notes == (
        "1 of 5 classes have folders of splits (a has test and train), which are not taken as such",
    )


def test_a_row_without_a_class_is_told_apart_from_a_photo_without_a_row() -> None:
    table = "file_name,choice\n" + "".join(f"{n}.jpg,{'cat' if n % 2 else 'dog'}\n" for n in range(8)) + "8.jpg,\n"
    layout, _ = read([f"media/{n}.jpg" for n in range(10)], {"export.csv": table.encode()})
    assert layout.warnings == (
        "export.csv has no class for 1 of the 9 photos of media/ (media/8.jpg), which is not used",
        "export.csv does not name 1 of the 9 photos of media/ (media/9.jpg), which is not used",
    )
    assert {each.name for each in layout.unused} == {"media/8.jpg", "media/9.jpg"}
