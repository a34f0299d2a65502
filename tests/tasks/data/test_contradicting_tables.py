"""Tests of tables and lists that contradict themselves or each other, or that can be read in two ways."""

import pytest

from tasks.run.errors import SourceRefused
from tests.tasks.data.tables import Placed, read

PHOTOS = [f"img/{n}.jpg" for n in range(40)]


def table(header: str, form: str, count: int = 40) -> bytes:
    """Return a table with a row for each photo; `form` has {n} and {label}."""
    lines = (form.format(n=n, label=("cat", "dog")[n % 2], number=n % 2) for n in range(count))
    return "\n".join([header, *lines]).encode()


def classes_of(placed: Placed) -> set[str]:
    return {label for _, label in placed.values()}


HEADINGS = {
    "classes.csv": b"class_name\ncat\ndog\n",
    "classes.txt": b"Names of the classes:\ncat\ndog\n",
    "names.txt": b"# names\ncat\ndog",
}


@pytest.mark.parametrize("name", HEADINGS)
def test_a_heading_of_the_names_of_classes_is_no_class(name: str) -> None:
    layout, placed = read(PHOTOS, {"labels.csv": table("file,label", "{n}.jpg,{number}"), name: HEADINGS[name]})
    assert (placed["img/0.jpg"][1], placed["img/1.jpg"][1], layout.classes) == ("cat", "dog", ("cat", "dog"))


def test_a_heading_is_dropped_before_names_of_classes_without_photos() -> None:
    tables = {"labels.csv": table("file,label", "{n}.jpg,{number}"), "classes.txt": b"species\ncat\ndog\neel"}
    assert read(PHOTOS, tables)[0].classes == ("cat", "dog")


def test_numbers_stay_where_a_list_has_one_line_more_that_is_no_known_heading() -> None:
    tables = {"labels.csv": table("file,label", "{n}.jpg,{number}"), "classes.txt": b"Animals\ncat\ndog"}
    layout, placed = read(PHOTOS, tables)
    assert classes_of(placed) == {"0", "1"}
    assert "the classes are numbers, because which line of classes.txt is the name of which number " in " ".join(
        layout.notes
    )


ANIMALS = ("ant", "bee", "cat", "dog", "eel")


@pytest.mark.parametrize(("count", "expected"), [(5, {"1", "2", "3", "4"}), (4, {"ant", "bee", "cat", "dog"})])
def test_numbers_from_1_are_named_by_a_list_only_if_its_last_line_has_the_highest(
    count: int, expected: set[str]
) -> None:
    labels = "file,label\n" + "\n".join(f"{n}.jpg,{1 + n % 4}" for n in range(40))
    tables = {"labels.csv": labels.encode(), "classes.txt": "\n".join(ANIMALS[:count]).encode()}
    layout, placed = read(PHOTOS, tables)
    assert classes_of(placed) == expected
    assert any("cannot be told: write the number before each name" in note for note in layout.notes) == (count == 5)


def test_every_spelling_of_a_number_gets_its_name() -> None:
    labels = "file,label\n" + "\n".join(f"{n}.jpg,{('0', '1', '00', '01')[n % 4]}" for n in range(40))
    layout, _ = read(PHOTOS, {"labels.csv": labels.encode(), "classes.txt": b"0 cat\n1 dog"})
    assert layout.classes == ("cat", "dog")


@pytest.mark.parametrize(("one", "other"), [("1.jpg,cat", "1,dog"), ("3.jpg,cat", "img/3.jpg,dog")])
def test_two_spellings_of_one_photo_with_two_classes_are_refused(one: str, other: str) -> None:
    rows = table("file,label", "{n}.jpg,{label}").decode().replace("\n1.jpg,dog", "").replace("\n3.jpg,dog", "")
    with pytest.raises(SourceRefused, match=r"gives several classes of one photo, .*\(cat, dog\)"):
        read(PHOTOS, {"labels.csv": f"{rows}\n{one}\n{other}".encode()})


def test_a_users_table_that_contradicts_itself_does_not_decide_over_folders() -> None:
    photos = [f"{folder}/{n}.jpg" for folder in ("a", "b") for n in range(20)]
    rows = [f"{name},{('cat', 'dog')[n % 2]}" for n, name in enumerate(photos)]
    text = "\n".join(["file_name,label", *rows, "a/0,dog"])
    layout, placed = read(photos, {"labels.csv": text.encode()})
    assert classes_of(placed) == {"a", "b"}
    assert any("labels.csv is not used: it gives several classes of one photo" in note for note in layout.notes)


def test_one_photo_in_two_splits_of_a_table_is_refused() -> None:
    text = table("file,label,split", "{n}.jpg,{label},test") + b"\n1.jpg,dog,train"
    with pytest.raises(SourceRefused, match=r"several splits of one photo, 1\.jpg \(test, train\)"):
        read(PHOTOS, {"labels.csv": text})


def test_one_photo_in_the_splits_of_two_tables_is_refused() -> None:
    tables = {
        "train.csv": table("file,label", "{n}.jpg,{label}", 30),
        "test.csv": table("file,label", "{n}.jpg,{label}"),
    }
    with pytest.raises(SourceRefused, match=r"says that 0\.jpg is of train, and test\.csv says that it is of test"):
        read(PHOTOS, tables)


def test_a_column_that_is_there_twice_and_differs_is_refused() -> None:
    with pytest.raises(SourceRefused, match="two columns label that differ: remove or rename one of them"):
        read(PHOTOS, {"labels.csv": table("file,label,label", "{n}.jpg,{label},{number}")})


def test_columns_without_names_and_equal_columns_may_be_there_twice() -> None:
    _, placed = read(PHOTOS, {"labels.csv": table("file,label,label,,", "{n}.jpg,{label},{label},,{n}")})
    assert classes_of(placed) == {"cat", "dog"} and len(placed) == 40


@pytest.mark.parametrize(("name", "mark"), [("labels.csv", ","), ("labels.txt", " ")])
def test_a_header_is_one_although_a_photo_is_called_as_its_column(name: str, mark: str) -> None:
    text = table(f"image{mark}label", f"{{n}}.jpg{mark}{{label}}")
    layout, placed = read([*PHOTOS, "img/image.jpg"], {name: text})
    assert layout.classes == ("cat", "dog") and [each.name for each in layout.unused] == ["img/image.jpg"]
    assert len(placed) == 40 and "column label" in layout.notes[0]


FLAGS: dict[str, tuple[str, dict[str | None, int]]] = {
    "is_train": ("{train}", {"train": 30, "test": 10}),
    "is_test": ("{test}", {"train": 30, "test": 10}),
    "is_valid": ("{test}", {None: 30, "validation": 10}),
    "is_train,is_test": ("{train},{test}", {"train": 30, "test": 10}),
}


@pytest.mark.parametrize("columns", FLAGS)
@pytest.mark.parametrize("words", [("0", "1"), ("False", "True")])
def test_columns_of_flags_give_the_splits(columns: str, words: tuple[str, str]) -> None:
    form, expected = FLAGS[columns]
    rows = (
        f"{n}.jpg,{('cat', 'dog')[n % 2]}," + form.format(train=words[n < 30], test=words[n >= 30]) for n in range(40)
    )
    layout, placed = read(PHOTOS, {"labels.csv": "\n".join([f"file,label,{columns}", *rows]).encode()})
    found = [split for split, _ in placed.values()]
    made = set(layout.made) - {"train"}
    assert {split: found.count(split) for split in set(found)} == {
        None if split == "train" and made else split: count for split, count in expected.items()
    }


def test_a_photo_of_two_splits_by_its_flags_is_refused() -> None:
    with pytest.raises(SourceRefused, match="of two splits by its columns is_train and is_test"):
        read(PHOTOS, {"labels.csv": table("file,label,is_train,is_test", "{n}.jpg,{label},1,{number}")})


def lists_of(numbers: dict[str, range]) -> dict[str, bytes]:
    return {name: "\n".join(f"img/{n}.jpg" for n in each).encode() for name, each in numbers.items()}


LABELS = {"labels.csv": table("file,label", "{n}.jpg,{label}")}


def test_a_list_without_a_number_is_no_fold_of_its_own() -> None:
    layout, placed = read(PHOTOS, {**LABELS, **lists_of({"train.txt": range(30), "test1.txt": range(29, 40)})})
    assert {split for split, _ in placed.values()} == {None}
    assert any("are not used for the splits: img/29.jpg is in two of them" in text for text in layout.warnings)


def test_a_list_without_a_number_belongs_to_every_fold() -> None:
    folds = {
        "train1.txt": range(20),
        "val1.txt": range(20, 30),
        "train2.txt": range(10, 30),
        "val2.txt": range(10),
        "test.txt": range(30, 40),
    }
    layout, placed = read(PHOTOS, {**LABELS, **lists_of(folds)})
    found = [split for split, _ in placed.values()]
    assert [found.count(split) for split in ("train", "validation", "test")] == [20, 10, 10]
    assert any("2 folds; fold 1 is used" in note for note in layout.notes)


def test_folds_of_which_the_first_has_train_alone_are_not_used_and_told() -> None:
    layout, placed = read(PHOTOS, {**LABELS, **lists_of({"train1.txt": range(30), "test2.txt": range(29, 40)})})
    assert {split for split, _ in placed.values()} == {None}
    assert any("they contradict each other, and number 1 has train alone" in text for text in layout.warnings)


def test_a_number_of_a_fold_may_have_any_number_of_digits() -> None:
    digits = "1" * 5000
    _, placed = read(PHOTOS, {**LABELS, **lists_of({"train.txt": range(30), f"test{digits}.txt": range(29, 40)})})
    assert len(placed) == 40


def test_60_lists_of_splits_by_class_are_all_read() -> None:
    photos = [f"img/c{c:02d}_{n}.jpg" for c in range(30) for n in range(4)]
    lists = {
        f"c{c:02d}_{split}.txt": "\n".join(f"c{c:02d}_{n}.jpg" for n in numbers).encode()
        for c in range(30)
        for split, numbers in (("train", range(3)), ("test", range(3, 4)))
    }
    labels = "file,label\n" + "\n".join(f"{name[4:]},{name[4:7]}" for name in photos)
    layout, placed = read(photos, {**lists, "labels.csv": labels.encode()})
    assert len(layout.classes) == 30 and len(placed) == 120
    assert sum(split == "test" for split, _ in placed.values()) == 30


def test_more_lists_than_are_read_are_not_used() -> None:
    photos = [f"img/{n}.jpg" for n in range(210)]
    lists = {f"c{n:03d}_{('train', 'test')[n % 2]}.txt": f"{n}.jpg\n".encode() for n in range(210)}
    labels = "file,label\n" + "\n".join(f"{n}.jpg,{n % 2}" for n in range(210))
    layout, placed = read(photos, {**lists, "labels.csv": labels.encode()})
    assert {split for split, _ in placed.values()} == {None} and len(placed) == 210
    assert any("the data has 210 lists by their names, and 200 are read" in text for text in layout.warnings)


def test_classes_of_25_tables_are_all_read_and_more_tables_than_are_read_are_refused() -> None:
    photos = [f"img/{c}_{n}.jpg" for c in range(201) for n in range(4)]
    tables = {
        f"kind{c}.csv": f"picture,animal\n{c}_0.jpg,c{c}\n{c}_1.jpg,c{c}\n{c}_2.jpg,d{c}\n{c}_3.jpg,d{c}\n".encode()
        for c in range(201)
    }
    few = {f"kind{c}.csv": tables[f"kind{c}.csv"] for c in range(25)}
    assert len(read(photos[:100], few)[0].classes) == 50
    with pytest.raises(SourceRefused, match="one of 201 tables, of which 200 are read: write all into"):
        read(photos, tables)
