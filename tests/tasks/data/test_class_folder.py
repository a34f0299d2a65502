"""Tests of which folder around a photo is its class: the option, what a table tells, and what is refused."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tasks.data.entries import Entry, Listing
from tasks.data.examination import Examined, examine_source
from tasks.data.layout import Layout, read_layout
from tasks.data.staging import locate, spool_directory
from tasks.data.texts import enumerated, listed
from tasks.run.errors import SourceRefused
from tasks.run.options import ClassFolder, DataOptions
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.tasks.data.datasets import jpeg, write_folder

CHILDREN = ("Anna M", "Ben", "Clara", "Deniz Ö")
TREES = ("Ahorn", "Buche", "Eiche", "Linde")
HERBARIUM = tuple(
    f"Herbarium 7b/{child}/{tree.lower() if child == 'Ben' else tree}/IMG_{n}.jpg"
    for child in CHILDREN
    for tree in TREES
    if (child, tree) != ("Clara", "Linde")
    for n in range(4)
)
FINDINGS = {
    "lower-gi/landmarks": "cecum",
    "lower-gi/pathological": "polyps",
    "lower-gi/quality": "bbps_2-3",
    "lower-gi/therapeutic": "dyed",
    "upper-gi/landmarks": "z-line",
    "upper-gi/pathological": "esophagitis a",
}
KVASIR = {f"labeled/{outer}/{name}/{name[:2]}{n}.jpg": name for outer, name in FINDINGS.items() for n in range(6)}


def read(names: Iterable[str], texts: Mapping[str, str] | None = None, level: ClassFolder = "auto") -> Layout:
    content = {name: text.encode() for name, text in (texts or {}).items()}
    entries = tuple(Entry(name, len(content.get(name, b"1"))) for name in (*names, *content))
    listing = Listing(Path("my data"), "folder", entries, (), Path("my data"))
    return read_layout(listing, lambda entry: content.get(entry.name, b"1"), level)


def by_class(layout: Layout) -> dict[str, int]:
    return dict(Counter(each.class_name for each in layout.candidates))


def table(rows: Mapping[str, str], header: str = "file_name,label") -> str:
    return "\n".join([header, *(f"{name},{label}" for name, label in rows.items())])


def refusal(names: Iterable[str], texts: Mapping[str, str] | None = None) -> SourceRefused:
    with pytest.raises(SourceRefused) as caught:
        read(names, texts)
    return caught.value


def trees(names: Iterable[str]) -> dict[str, str]:
    return {name: name.split("/")[-2].capitalize() for name in names}


TREE_COUNTS = {"Ahorn": 16, "Buche": 16, "Eiche": 16, "Linde": 12}


def test_two_levels_are_refused_with_the_command_for_each() -> None:
    error = refusal(HERBARIUM)
    assert error.what == ("Anna M, Ben, Clara and Deniz Ö have nearly the same folders Ahorn, Buche, Eiche and Linde")
    for level, classes in (("last", TREES), ("first", CHILDREN)):
        shown = f"{', '.join(classes[:3])} and {classes[3]}"
        assert f"are {shown}: kennel inspect 'my data' --class-folder {level}" in error.next_command
    assert "labels.csv" in error.next_command


def test_folders_with_different_folders_in_them_are_refused_too() -> None:
    error = refusal(KVASIR)
    assert error.what.startswith("lower-gi and upper-gi have no photos of their own, but folders in them (lower-gi: ")
    told = (
        "if the classes are cecum, polyps, bbps_2-3 and 3 more: kennel inspect 'my data' --class-folder last; if they"
    )
    assert told in error.next_command


def test_the_last_folder_is_the_class_across_the_outer_ones_which_are_told() -> None:
    layout = read(HERBARIUM, level="last")
    assert by_class(layout) == TREE_COUNTS and layout.warnings == ()
    assert layout.notes == (
        "the class of a photo is the folder that it lies in: folders of one name in Anna M, Ben, Clara and Deniz Ö "
        "are one class; photos of one of these may come into different splits",
        "folders that differ only in case or Unicode form are one class: ahorn is Ahorn, buche is Buche, eiche is "
        "Eiche and linde is Linde",
    )


def test_the_first_folder_is_the_class_without_a_doubt_if_it_is_asked_for() -> None:
    layout = read(HERBARIUM, level="first")
    assert by_class(layout) == {"Anna M": 16, "Ben": 16, "Clara": 12, "Deniz Ö": 16} and layout.warnings == ()


def test_two_spellings_beside_each_other_stay_two_classes() -> None:
    names = [f"{child}/{tree}/{n}.jpg" for child in "AB" for tree in ("oak", "Oak", "elm") for n in range(3)]
    layout = read(names, level="last")
    assert by_class(layout) == {"oak": 6, "Oak": 6, "elm": 6}
    assert "look alike" in layout.warnings[0]


def test_unicode_forms_of_one_name_are_one_class() -> None:
    names = [f"one/Gänse/{n}.jpg" for n in range(3)] + [f"two/{unicodedata.normalize('NFD', 'Gänse')}/1.jpg"]
    assert by_class(read([*names, "one/x/1.jpg"], level="last")) == {"Gänse": 4, "x": 1}


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("one/cat/images", "two/cat/images", "two/dog/photos"), {"cat": 4, "dog": 2}),
        (("a/abbey", "b/bazaar/indoor", "b/bar"), {"abbey": 2, "bar": 2, "indoor": 2}),
        (("cat/2021", "cat/2022-05-01", "dog/2021", "dog/2022"), {"cat": 4, "dog": 4}),
        (("x/cat/part 1", "x/cat/part 2", "x/dog/part 1", "y/dog"), {"cat": 4, "dog": 4}),
        (("cat/train", "cat/test", "dog/train", "dog/test"), {"cat": 4, "dog": 4}),
        (("cat", "dog"), {"cat": 2, "dog": 2}),
    ],
    ids=["wrappers", "index", "dates", "parts", "splits", "plain"],
)
def test_folders_that_are_no_classes_are_passed(folders: tuple[str, ...], classes: dict[str, int]) -> None:
    names = [f"set/{folder}/{n}{folder[0]}{len(folder)}.jpg" for folder in folders for n in range(2)]
    assert by_class(read(names, level="last")) == classes


def test_the_last_folder_is_found_in_each_split() -> None:
    names = [
        f"{split}/{child}/{tree}/{n}.jpg"
        for split in ("train", "valid", "test")
        for child in ("A", "B")
        for tree in ("oak", "elm")
        for n in range(2)
    ]
    layout = read(names, level="last")
    assert Counter((each.split, each.class_name) for each in layout.candidates)["validation", "oak"] == 4
    assert by_class(layout) == {"oak": 12, "elm": 12} and layout.made == ()
    assert "may come into different splits" not in layout.notes[0]


def test_years_in_each_class_are_parts_of_it() -> None:
    names = [f"{name}/{year}/{n}.jpg" for name in ("cat", "dog") for year in (2021, 2022) for n in range(3)]
    assert by_class(read(names)) == {"cat": 6, "dog": 6}


def test_one_class_in_three_with_folders_is_a_warning_and_no_refusal() -> None:
    names = [f"{name}/{n}.jpg" for name in ("acer/rubrum", "acer/palmatum", "ilex/x", "rosa/y") for n in range(3)]
    layout = read(names)
    assert by_class(layout) == {"acer": 6, "ilex": 3, "rosa": 3}
    assert "give --class-folder last" in layout.warnings[0]


def test_a_table_whose_column_has_the_names_of_the_folders_tells_the_level() -> None:
    cells = {"bbps_2-3": "BBPS-2-3", "esophagitis a": "esophagitis-a"}
    rows = {name.rpartition("/")[2][:-4]: f"Lower GI,{cells.get(label, label)},x" for name, label in KVASIR.items()}
    layout = read(KVASIR, {"labeled/image-labels.csv": table(rows, "Video file,Organ,Finding,Other")})
    assert by_class(layout) == dict.fromkeys(FINDINGS.values(), 6) and layout.warnings == ()
    assert layout.notes[0] == (
        "column Finding of labeled/image-labels.csv has the names of the folders that the photos lie in: these are the "
        "classes"
    )
    assert layout.ignored == 0


def test_a_table_with_one_other_name_tells_nothing() -> None:
    rows = {name.rpartition("/")[2]: label for name, label in KVASIR.items()}
    rows["ce0.jpg"] = "pylorus"
    assert "have no photos of their own" in refusal(KVASIR, {"found.csv": table(rows, "file,finding")}).what


@pytest.mark.parametrize("place", ["labels.csv", "Herbarium 7b/labels.csv", "metadata.csv"])
def test_a_table_that_names_all_photos_wins_where_the_level_is_unknown(place: str) -> None:
    layout = read(HERBARIUM, {place: table(trees(HERBARIUM))})
    assert by_class(layout) == TREE_COUNTS and layout.warnings == () and layout.ignored == 0
    assert layout.notes == (
        f"the classes of 60 photos are from {place}, column label",
        "the folders are no classes, because this table names the photos",
    )


def test_the_table_that_names_all_photos_may_give_the_outer_folders_or_others() -> None:
    rows = {name: name.split("/")[1] for name in HERBARIUM}
    assert by_class(read(HERBARIUM, {"labels.csv": table(rows)})) == {
        "Anna M": 16,
        "Ben": 16,
        "Clara": 12,
        "Deniz Ö": 16,
    }
    names = [f"{name}/{n}{name}.jpg" for name in ("mon", "tue") for n in range(6)]
    other = table({name: "ab"[n % 2] for n, name in enumerate(names)})
    assert by_class(read(names, {"labels.csv": other})) == {"a": 6, "b": 6}
    lines = "\n".join(f'{{"file_name": "{name}", "label": "{"ab"[n % 2]}"}}' for n, name in enumerate(names))
    assert by_class(read(names, {"metadata.jsonl": lines})) == {"a": 6, "b": 6}


def test_the_table_keeps_the_splits_of_the_folders() -> None:
    names = [f"{split}/x{k}/{n}.jpg" for split in ("train", "valid", "test") for k in range(2) for n in range(4)]
    layout = read(names, {"labels.csv": table({name: "ab"[n % 2] for n, name in enumerate(names)})})
    assert Counter((each.split, each.class_name) for each in layout.candidates)["validation", "a"] == 4
    assert by_class(layout) == {"a": 12, "b": 12}


def test_numbers_in_the_table_are_named_by_the_folders_that_they_agree_with() -> None:
    names = [f"{name}/{n}{name}.jpg" for name in ("cat", "dog") for n in range(5)]
    layout = read(names, {"labels.csv": table({name: str(int("dog" in name)) for name in names})})
    assert by_class(layout) == {"cat": 5, "dog": 5}
    assert "the classes are named by the folders of their photos" in layout.notes


def test_a_table_with_an_option_for_folders_says_that_it_decides() -> None:
    layout = read(HERBARIUM, {"labels.csv": table(trees(HERBARIUM))}, "first")
    assert by_class(layout) == TREE_COUNTS
    assert "--class-folder first changes nothing, because a table has the classes" in layout.notes


def test_bare_names_that_several_photos_have_are_refused_with_the_paths() -> None:
    rows = {name.rpartition("/")[2]: "Ahorn" for name in HERBARIUM}
    error = refusal(HERBARIUM, {"labels.csv": table(rows)})
    assert error.what == "labels.csv names IMG_0.jpg, and 15 photos have this name"
    assert "file_name,label / Herbarium 7b/Anna M/Ahorn/IMG_0.jpg," in error.next_command


def test_bare_names_that_one_photo_has_are_enough() -> None:
    layout = read(KVASIR, {"labels.csv": table({name.rpartition("/")[2]: label for name, label in KVASIR.items()})})
    assert by_class(layout) == dict.fromkeys(FINDINGS.values(), 6)


PLAIN = [f"{name}/{n}{name}.jpg" for name in ("cat", "dog") for n in range(10)]
UNUSED = {
    "few": (
        {"labels.csv": table(dict.fromkeys(PLAIN[:17], "x"))},
        "it names 17 of 20 photos, and decides over folders",
    ),
    "columns": ({"metadata.csv": table(dict.fromkeys(PLAIN, "a"), "file_name,text")}, "it has no column label"),
    "no photo": (
        {"labels.csv": table({"x.jpg": "a", "y.jpg": "b"})},
        "it has names of the photos here in none of its columns (the first has x.jpg, y.jpg)",
    ),
    "another": ({"birds.csv": table(dict.fromkeys(PLAIN, "a"), "file,bird")}, "the folders give the classes"),
}


@pytest.mark.parametrize("kind", list(UNUSED))
def test_a_table_that_is_not_used_is_named_with_the_reason(kind: str) -> None:
    tables, why = UNUSED[kind]
    layout = read(PLAIN, tables)
    assert by_class(layout) == {"cat": 10, "dog": 10}
    assert layout.notes[0].startswith(f"{min(tables)} is not used: {why}") and layout.ignored == 1


def test_several_tables_that_are_not_used_for_one_reason_are_told_once() -> None:
    rows = ",Image,Category\n" + "".join(f"{n},{n},x\n" for n in range(6))
    layout = read(PLAIN, {"cat/labels.csv": rows, "dog/labels.csv": rows})
    assert layout.notes[0] == (
        "cat/labels.csv and dog/labels.csv are not used: each has names of the photos here in none of its columns "
        "(the first has 0, 1, 2 ...)"
    )


def test_at_nine_of_ten_photos_the_table_decides_and_the_others_are_told() -> None:
    layout = read(PLAIN, {"labels.csv": table({name: "ab"[n % 2] for n, name in enumerate(PLAIN[:18])})})
    assert by_class(layout) == {"a": 9, "b": 9}
    assert layout.warnings == (
        "labels.csv does not name 2 of the 10 photos of dog/ (dog/8dog.jpg, dog/9dog.jpg), which are not used",
    )


def weeds(folds: int) -> dict[str, str]:
    species = {0: "Chinee apple", 1: "Lantana", 8: "Negative"}
    rows = [(f"{n}.jpg", [*species][n % 3]) for n in range(30)]
    texts = {"labels/labels.csv": table({name: f"{k},{species[k]}" for name, k in rows}, "Filename,Label,Species")}
    for fold in range(folds):
        turned = rows[6 * fold :] + rows[: 6 * fold]
        parts = {"test": turned[:6], "train": turned[12:], "val": turned[6:12]}
        for split, part in parts.items():
            texts[f"labels/{split}_subset{fold}.csv"] = table({name: str(k) for name, k in part}, "Filename,Label")
    return texts


def test_numbers_take_the_words_of_the_column_beside_them_and_folds_are_told() -> None:
    layout = read([f"images/{n}.jpg" for n in range(30)], weeds(5))
    assert by_class(layout) == {"Chinee apple": 10, "Lantana": 10, "Negative": 10}
    assert Counter(each.split for each in layout.candidates) == {"train": 18, "validation": 6, "test": 6}
    assert layout.notes == (
        "the classes of 30 photos are from labels/labels.csv, column Species",
        "the splits are from labels/train_subset0.csv, labels/val_subset0.csv, labels/test_subset0.csv (train 18, "
        "validation 6, test 6)",
        "labels/ has 5 folds; fold 0 is used",
    )
    assert layout.ignored == 0 and layout.warnings == ()


def test_a_word_for_two_numbers_names_no_class() -> None:
    rows = {f"{n}.jpg": f"{n % 3},{('cat', 'dog', 'dog')[n % 3]}" for n in range(9)}
    layout = read([f"images/{n}.jpg" for n in range(9)], {"labels.csv": table(rows, "file,label,kind")})
    assert by_class(layout) == {"0": 3, "1": 3, "2": 3}


def test_columns_whose_values_all_differ_are_not_asked_for_and_the_columns_to_rename_are_named() -> None:
    names = [f"images/{n}.jpg" for n in range(8)]
    links = table({f"{n}.jpg": f"http://example.org/{n}" for n in range(8)}, "filename,link")
    rows = {f"{n}": f"{'mw'[n % 2]},{'abc'[n % 3]},Shirt {n}" for n in range(8)}
    error = refusal(names, {"images.csv": links, "styles.csv": table(rows, "id,gender,kind,title")})
    assert error.what == "my data: no column says which class a photo has"
    assert (
        "which of gender, kind has the classes" in error.why
        and "images.csv (its header is filename, link) has no column of classes" in error.why
    )
    told = (
        "in styles.csv, rename the column id to file_name and the one column of the classes (of gender, kind) to label"
    )
    assert error.next_command.startswith(told)


def test_a_table_of_a_test_without_folders_does_not_miss_the_photos_in_folders() -> None:
    names = [f"train/{name}/{n}{name}.jpg" for name in ("cat", "dog") for n in range(9)]
    rows = {name: name.split("/")[1] for name in names} | {f"test/{n}.jpg": ("cat", "dog")[n % 2] for n in range(4)}
    layout = read(rows, {"all.csv": table(rows, "path,class")})
    assert Counter(each.split for each in layout.candidates) == {None: 18, "test": 4}
    assert layout.notes[0] == "the classes of 4 photos are from all.csv, column class"
    assert not any("not here" in note for note in layout.notes)


def test_a_row_whose_photo_is_not_here_is_counted() -> None:
    rows = {f"{n}.jpg": "ab"[n % 2] for n in range(9)}
    layout = read([f"images/{n}.jpg" for n in range(8)], {"labels.csv": table(rows)})
    assert layout.notes[1] == "labels.csv names 1 photo that is not here (8.jpg)" and len(layout.candidates) == 8


def test_the_option_is_part_of_a_dataset_only_by_its_result(tmp_path: Path) -> None:
    folders = ("a/oak", "a/elm", "b/oak", "b/elm")
    nested = {f"{folder}/{3 * k + n}.jpg": jpeg(3 * k + n) for k, folder in enumerate(folders) for n in range(3)}
    flat = {name.partition("/")[2]: data for name, data in nested.items()}

    def examined(name: str, files: Mapping[str, bytes], options: DataOptions) -> Examined:
        settings = Settings(home=tmp_path / "home")
        source = locate(str(write_folder(tmp_path / name, files)), settings, LineProgress, options)
        with spool_directory(settings) as spool:
            return examine_source(source, settings, spool, LineProgress)

    last, plain = examined("nested", nested, DataOptions(class_folder="last")), examined("flat", flat, DataOptions())
    assert (last.classes, last.digest, last.problems) == (("elm", "oak"), plain.digest, ())
    assert DataOptions(class_folder="last").chosen == {"class_folder": "last"}


def test_one_more_short_name_is_shown_and_a_long_one_is_counted() -> None:
    assert enumerated(["a", "b", "c", "Deniz"]) == "a, b, c and Deniz"
    assert enumerated(["a", "b", "c", "d" * 21]) == "a, b, c and 1 more"
    assert enumerated([*"abcde"]) == "a, b, c and 2 more"
    assert listed([*"abcdef"]) == "a, b, c, d, e and f" and listed([*"abcdefg"]) == "a, b, c, d, e and 2 more"
