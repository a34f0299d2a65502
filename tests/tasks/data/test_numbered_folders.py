"""Tests of folders of classes that are numbers: a list names them, or a line says how to name them."""

from collections.abc import Mapping

import pytest

from tests.tasks.data.tables import read

NAMES = ("beagle", "border collie", "pug", "Collie, rough")
SPLITS = [f"{split}/{n}/{k}.jpg" for split in ("train", "valid", "test") for n in range(4) for k in range(5)]
FOLDERS = [f"{n:02d}/{k}.jpg" for n in range(4) for k in range(5)]
LISTS = {
    "classes.txt": "".join(f"{n} {name}\n" for n, name in enumerate(NAMES)),
    "class_names.txt": "\n".join(NAMES),
    "signs.csv": "ClassId,Name\n0,beagle\n1,border collie\n2,pug\n" + '3,"Collie, rough"\n',
    "cat_to_name.json": '{"1": "border collie", "0": "beagle", "3": "Collie, rough", "2": "pug", "4": "eel"}',
    "index.json": '{"0": ["n1", "beagle"], "1": ["n2", "border collie"], "2": ["n3", "pug"], "3": ["Collie, rough"]}',
}
UNNAMED = (
    "the classes are numbers, and no list here names them: to name them, write a classes.txt with a number and a name "
    "in each line, such as 3 beagle"
)


@pytest.mark.parametrize("file", list(LISTS))
def test_a_list_names_folders_that_are_numbers(file: str) -> None:
    layout, placed = read(SPLITS, {file: LISTS[file].encode()})
    assert layout.classes == tuple(sorted(NAMES))
    assert placed["train/1/4.jpg"] == ("train", "border collie") and placed["test/3/0.jpg"] == ("test", NAMES[3])
    assert f"the names of the classes are from {file}" in layout.notes
    assert not any("not used" in note for note in layout.notes)


@pytest.mark.parametrize("file", list(LISTS))
def test_a_list_names_folders_without_splits_that_have_leading_zeros(file: str) -> None:
    layout, placed = read(FOLDERS, {file: LISTS[file].encode()})
    assert (placed["00/0.jpg"], placed["03/1.jpg"]) == ((None, "beagle"), (None, "Collie, rough"))
    assert layout.classes == tuple(sorted(NAMES))


def test_names_alone_begin_at_one_if_the_folders_do() -> None:
    photos = [f"{n}/{k}.jpg" for n in (1, 2, 3) for k in range(5)]
    _, placed = read(photos, {"classes.txt": b"fire lily\nrose\nhard-leaved orchid\n"})
    assert (placed["1/0.jpg"], placed["3/0.jpg"]) == ((None, "fire lily"), (None, "hard-leaved orchid"))


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"classes.txt": "0 beagle\n1 pug\n"},
        {"annotations.json": '{"0": 1, "1": 2, "2": 3, "3": 4}'},
        {"damaged.json": '{"0": '},
        {"photos.csv": "".join(f"{n},{n}.jpg\n" for n in range(4))},
        {"boxes.txt": "".join(f"{n} 0.{n} 0.5\n" for n in range(4))},
        {"titles.csv": "".join(f"{n},house {n}\n" for n in range(20))},
    ],
    ids=["none", "not all", "numbers", "damaged", "photos", "boxes", "more than the classes"],
)
def test_folders_stay_numbers_without_a_list_and_it_is_told_how_to_name_them(texts: Mapping[str, str]) -> None:
    layout, placed = read(SPLITS, {name: text.encode() for name, text in texts.items()})
    assert layout.classes == ("0", "1", "2", "3") and placed["train/2/1.jpg"] == ("train", "2")
    assert layout.notes.count(UNNAMED) == 1


def test_folders_stay_numbers_where_two_lists_differ_or_the_line_cannot_be_told() -> None:
    two = {"classes.txt": LISTS["classes.txt"].encode(), "cat_to_name.json": b'{"0":"a","1":"b","2":"c","3":"d"}'}
    layout, _ = read(SPLITS, two)
    assert layout.classes == ("0", "1", "2", "3")
    assert any("name them differently: keep one of these lists" in note for note in layout.notes)
    layout, _ = read(SPLITS, {"classes.txt": b"Animals\na\nb\nc\nd"})
    assert layout.classes == ("0", "1", "2", "3")
    assert any("write the number before each name" in note for note in layout.notes)


def test_an_object_of_json_names_the_numbers_of_a_table() -> None:
    rows = "".join(f"{n}.jpg,{n % 2}\n" for n in range(10))
    tables = {"train.csv": f"image_id,label\n{rows}".encode(), "label_num_to_disease_map.json": b'{"0":"CBB","1":"OK"}'}
    layout, placed = read([f"images/{n}.jpg" for n in range(10)], tables)
    assert layout.classes == ("CBB", "OK") and placed["images/3.jpg"] == (None, "OK")
    assert "the names of the classes are from label_num_to_disease_map.json" in layout.notes


def test_the_numbers_of_a_table_with_a_header_stay_and_it_is_told_how_to_name_them() -> None:
    rows = "".join(f"{n}.jpg,{n % 2}\n" for n in range(10))
    layout, _ = read([f"images/{n}.jpg" for n in range(10)], {"train.csv": f"image_id,label\n{rows}".encode()})
    assert layout.classes == ("0", "1") and UNNAMED in layout.notes


def test_folders_that_are_words_are_not_renamed() -> None:
    photos = [name.replace("/0/", "/cat/") for name in SPLITS]
    layout, _ = read(photos, {"classes.txt": LISTS["classes.txt"].encode()})
    assert layout.classes == ("1", "2", "3", "cat") and UNNAMED not in layout.notes


def test_only_warnings_about_classes_are_doubts_of_them() -> None:
    rows = "".join(f"{n}.jpg,{'ab'[n % 2]}\n" for n in range(10))
    photos = [*(f"images/{n}.jpg" for n in range(10)), "test_images/x.jpg"]
    layout, _ = read(photos, {"train.csv": f"image_id,label\n{rows}".encode()})
    assert len(layout.warnings) == 1 and layout.doubts == ()
    spelled = [f"{folder}/{n}.jpg" for folder in ("train/Dog", "test/dog", "train/cat", "test/cat") for n in range(9)]
    layout, _ = read(spelled, {})
    assert len(layout.doubts) == 1 and layout.doubts == layout.warnings
