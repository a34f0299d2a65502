"""Tests of finding splits and classes by looking: the layouts that people have, and what is refused."""

from pathlib import Path

import pytest

from tasks.data.entries import Entry, Listing
from tasks.data.layout import Layout, read_layout
from tasks.run.errors import SourceRefused
from tasks.run.records import SPLITS, Quarantined

CLASSES = ("cat", "dog")


def listing(*names: str, folders: tuple[str, ...] = ()) -> Listing:
    return Listing(Path("data.zip"), "zip", tuple(Entry(name, 1) for name in names), folders)


def photos(*splits: str, classes: tuple[str, ...] = CLASSES, count: int = 2) -> list[str]:
    return [f"{split}{name}/{n}.jpg" for split in splits for name in classes for n in range(count)]


def full(*more: str, root: str = "", folders: tuple[str, ...] = ()) -> Listing:
    names = photos(*(f"{root}{split}/" for split in ("train", "valid", "test")))
    return listing(*names, *more, folders=folders)


def placed(layout: Layout, source: Listing) -> dict[str, tuple[str | None, str]]:
    return {source.entries[each.index].name: (each.split, each.class_name) for each in layout.candidates}


def by_split(layout: Layout) -> dict[str | None, int]:
    return {split: sum(each.split == split for each in layout.candidates) for split in (*SPLITS, None)}


ALL_SPLITS = {"train": 4, "validation": 4, "test": 4, None: 0}


@pytest.mark.parametrize(
    "root", ["", "dogImages/", "./", "archive/chest_xray/", "Test/", "a/b/c/", "training/", ".\\", "x\\"]
)
def test_splits_are_found_below_any_folders(root: str) -> None:
    source = full(root=root.replace("\\", "/"))
    if "\\" in root:
        source = listing(*(entry.name.replace("/", "\\") for entry in source.entries))
    layout = read_layout(source)
    assert (layout.classes, by_split(layout), layout.made, layout.warnings) == (CLASSES, ALL_SPLITS, (), ())


@pytest.mark.parametrize(
    "folders",
    [
        ("Train/", "VAL/", "TEST/"),
        ("training/", "validation/", "testing/"),
        ("train/", "dev/", "holdout/"),
        ("seg_train/seg_train/", "seg_dev/seg_dev/", "seg_test/seg_test/"),
        ("train/images/", "valid/images/", "test/images/"),
        ("train2017/", "val2017/", "test2017/"),
        ("TrainSet/", "ValidSet/", "TestSet/"),
        ("data/train-set/", "data/val-set/", "data/test-set/"),
    ],
)
def test_splits_are_found_by_the_usual_words(folders: tuple[str, ...]) -> None:
    layout = read_layout(listing(*photos(*folders)))
    assert (layout.classes, by_split(layout)) == (CLASSES, ALL_SPLITS)


def test_files_of_other_programs_are_counted_in_one_line_and_are_no_class() -> None:
    others = ["__MACOSX/train/._1.jpg", "train/.DS_Store", "README.txt", "train/cat/Thumbs.db", "train/cat/thumbs.db"]
    others += ["train/cat/ehthumbs.db", "valid/dog/Desktop.ini", "valid/dog/Icon\r", "train/@eaDir/x@SynoEAStream"]
    labels = ["train/cat/0.txt", "train/dog/0.xml", "license.txt"]
    layout = read_layout(full(*others, *labels, root="photos/"))
    assert (layout.classes, by_split(layout), layout.ignored) == (CLASSES, ALL_SPLITS, 12)
    assert (layout.quarantined, layout.unused, layout.warnings, len(layout.notes)) == ((), (), (), 1)
    assert layout.notes == (
        "8 hidden or system files (Thumbs.db, ._*, .DS_Store, ehthumbs.db, desktop.ini and 2 more), 3 .txt and 1 .xml "
        "are not photos and are not used",
    )


def test_a_file_that_looks_like_an_image_and_is_not_used_is_always_a_warning() -> None:
    previews = [f"train/cat/@eaDir/{n}.jpg/SYNOPHOTO_THUMB_M.jpg" for n in range(7)]
    layout = read_layout(full(*previews, "cover.png", "train/cat/.hidden.jpg"))
    assert [warning.partition(":")[0] for warning in layout.warnings] == [
        "7 files look like photos and are not used",
        "1 file looks like a photo and is not used",
        "1 file looks like a photo and is not used",
    ]
    assert layout.warnings[0].count("SYNOPHOTO") == 5 and "and 2 more" in layout.warnings[0]
    assert "its name begins with a dot, which hides it (train/cat/.hidden.jpg)" in layout.warnings[1]
    assert (layout.classes, len(layout.unused), by_split(layout)) == (CLASSES, 9, ALL_SPLITS)


def test_a_class_may_begin_with_a_dot_and_have_odd_names() -> None:
    odd = ("New York, USA", '🐶 dog "good"', "a=b;c|d'e $HOME `id`", "-rf", "CON", "trailing dot.", "a" * 200, ".net")
    layout = read_layout(listing(*photos("train/", "valid/", "test/", classes=odd)))
    assert (set(layout.classes), len(layout.candidates), layout.warnings) == (set(odd), 48, ())


def test_deep_folders_belong_to_the_class_above_them() -> None:
    deep = f"train/cat/2019/summer/{'x' * 200}é🐈.JPEG"
    source = full(deep)
    assert placed(read_layout(source), source)[deep] == ("train", "cat")


def test_three_thousand_classes_are_found() -> None:
    classes = tuple(f"sku-{number:04d}" for number in range(3000))
    layout = read_layout(listing(*photos("train/", "valid/", "test/", classes=classes, count=1)))
    assert (len(layout.classes), len(layout.candidates)) == (3000, 9000)


@pytest.mark.parametrize(
    ("other", "label", "difference"),
    [
        ("cafe\u0301", "caf\u00e9", "Unicode form"),
        ("Caf\u00e9", "caf\u00e9", "case"),
        ("caf\u00e9 ", "caf\u00e9", "blanks"),
    ],
)
def test_a_class_that_is_spelled_otherwise_in_another_split_is_one_class(
    other: str, label: str, difference: str
) -> None:
    names = [*photos("train/", classes=("chat", label)), *photos("valid/", "test/", classes=("chat", other))]
    layout = read_layout(listing(*names))
    assert (layout.classes, by_split(layout)) == ((label, "chat"), ALL_SPLITS)
    (warning,) = layout.warnings
    assert warning.startswith(f"train/{label} and valid/{other} differ only in ") and difference in warning
    assert warning.endswith(f"they are taken as one class, {label}")


def test_three_spellings_of_a_class_in_three_splits_are_one() -> None:
    names = [
        f"{split}/{name}/1.jpg"
        for split, dog in (("train", "Dog"), ("valid", "dog"), ("test", "DOG"))
        for name in ("cat", dog)
    ]
    layout = read_layout(listing(*names))
    assert layout.classes == ("Dog", "cat")
    assert layout.warnings[0].startswith("train/Dog and valid/dog and test/DOG differ only in case")


def test_classes_that_one_split_keeps_apart_stay_apart_with_a_warning() -> None:
    twins, unseen = read_layout(full("train/Dog/1.jpg")), read_layout(full("train/dog \u200b/1.jpg"))
    differ = "look alike (case, Unicode form, blanks)"
    assert twins.warnings == (f"classes Dog, dog {differ}: train/Dog/1.jpg, train/dog/0.jpg",)
    assert unseen.warnings[0].startswith("classes dog, dog ") and differ in unseen.warnings[0]
    assert "Dog" in twins.classes and "dog" in twins.classes


def test_names_of_a_zip_that_are_utf_8_without_saying_so_are_read() -> None:
    unmarked = "café".encode().decode("cp437")
    layout = read_layout(listing(*photos("train/", "valid/", "test/", classes=("chat", unmarked))))
    assert layout.classes == ("café", "chat") or layout.classes == ("caf\u00e9", "chat")
    assert layout.notes == ()


@pytest.mark.parametrize(
    "root", ["", "EuroSAT/2750/", "food-101/images/", "Images/", "train/", "photos/"], ids=lambda root: root or "top"
)
def test_folders_of_classes_without_splits_get_splits(root: str) -> None:
    beside = ["food-101/meta/train.txt", "Annotation/cat/n02085620_10074", "README.md"]
    layout = read_layout(listing(*photos(root), *(beside if root else [])))
    assert (layout.classes, by_split(layout)[None], layout.made) == (CLASSES, 4, SPLITS)


@pytest.mark.parametrize(
    ("splits", "made"), [(("train/", "val/"), ("train", "test")), (("train/", "test/"), ("train", "validation"))]
)
def test_a_split_that_is_missing_is_made_from_train(splits: tuple[str, ...], made: tuple[str, ...]) -> None:
    layout = read_layout(listing(*photos(*splits)))
    kept = {"val/": "validation", "test/": "test"}[splits[1]]
    assert (by_split(layout)[None], by_split(layout)[kept], layout.made) == (4, 4, made)


@pytest.mark.parametrize("folder", ["test/", "test/unknown/", "test1/", "test/test/"])
def test_photos_of_a_test_without_classes_are_not_used_and_a_test_is_made(folder: str) -> None:
    flat = [f"{folder}{n}.jpg" for n in range(3)]
    layout = read_layout(listing(*photos("train/", "valid/"), *flat))
    assert (layout.classes, layout.made, len(layout.unused)) == (CLASSES, ("train", "test"), 3)
    assert "has no folders of classes, so that their classes are not known" in layout.warnings[0]


def test_photos_of_a_contest_beside_the_splits_are_not_used() -> None:
    names = photos("seg_train/seg_train/", "seg_test/seg_test/")
    layout = read_layout(listing(*names, "seg_pred/seg_pred/1.jpg"))
    assert (layout.classes, layout.made, [item.name for item in layout.unused]) == (
        CLASSES,
        ("train", "validation"),
        ["seg_pred/seg_pred/1.jpg"],
    )


def test_a_test_folder_beside_folders_of_classes_is_no_class() -> None:
    layout = read_layout(listing(*photos(""), "test/1.jpg"))
    assert (layout.classes, layout.made, len(layout.unused)) == (CLASSES, SPLITS, 1)


def test_trains_among_cars_are_a_class() -> None:
    layout = read_layout(listing(*photos("", classes=("train", "bus", "car"))))
    assert (layout.classes, layout.made) == (("bus", "car", "train"), SPLITS)


def test_a_second_copy_of_the_dataset_in_a_folder_of_its_own_is_not_used() -> None:
    names = photos("chest/train/", "chest/test/", "chest/val/")
    again = [f"chest/{name}" for name in names]
    layout = read_layout(listing(*names, *again))
    assert (by_split(layout), len(layout.unused)) == (ALL_SPLITS, 12)
    assert "chest is a second copy of the whole dataset" in layout.warnings[0]


def test_an_image_outside_a_class_is_quarantined() -> None:
    lost = Quarantined("train/lost.jpg", "it is not in the folder of a class")
    assert read_layout(full("train/lost.jpg")).quarantined == (lost,)


def test_a_folder_without_images_is_a_class_all_the_same() -> None:
    assert read_layout(full(folders=("train/wolf",))).classes == ("cat", "dog", "wolf")


def test_a_folder_of_other_files_is_no_class() -> None:
    assert read_layout(full("train/lists/a.txt", "train/raw/0001", folders=("train/lists",))).classes == CLASSES


@pytest.mark.parametrize("name", ["", " ", "\u200b"])
def test_a_class_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(SourceRefused, match="is blank"):
        read_layout(full(f"train/{name}/1.jpg"))


def test_an_unknown_folder_is_refused_with_the_name_that_was_meant_and_what_was_found() -> None:
    with pytest.raises(SourceRefused) as refused:
        read_layout(full("trian/cat/9.jpg"))
    assert "unknown folder trian" in refused.value.what
    assert (
        "found: test/ 4 photos (cat/ 2, dog/ 2); train/ 4 photos (cat/ 2, dog/ 2); trian/cat/ 1 photo"
        in refused.value.why
    )
    assert "rename it to train, if you meant that" in refused.value.next_command


def test_two_folders_of_one_split_are_refused() -> None:
    with pytest.raises(SourceRefused, match="the folders val and valid both exist"):
        read_layout(full("val/cat/1.jpg"))


def test_splits_without_train_are_refused() -> None:
    with pytest.raises(SourceRefused, match="has no train folder"):
        read_layout(listing(*photos("val/", "test/")))


def test_folders_that_are_named_as_parts_are_classes_with_a_warning() -> None:
    names = [f"{part}/{part[-1]}{n}.png" for part in ("images_001", "images_002") for n in range(4)]
    assert read_layout(listing(*names)).warnings == (
        "the classes are images_001 and images_002, which are named as parts of one set: "
        "if they are no classes, write a labels.csv",
    )


def test_folders_of_years_in_one_class_only_and_numbered_classes_are_no_doubt() -> None:
    names = [f"cat/{year}/c{n}.jpg" for year in (2019, 2020) for n in range(4)] + [f"dog/d{n}.jpg" for n in range(4)]
    assert read_layout(listing(*names)).warnings == ()
    assert read_layout(listing(*(f"digit-{d}/{d}{n}.jpg" for d in range(3) for n in range(4)))).warnings == ()


def test_words_with_letters_of_other_languages_are_whole_and_photo_may_be_a_class() -> None:
    assert read_layout(listing(*photos("", classes=("détest", "éval")))).classes == ("détest", "éval")
    media = ("drawing", "painting", "photo")
    assert read_layout(listing(*photos("", classes=media))).classes == media


def test_splits_in_the_folders_of_classes_are_no_doubt() -> None:
    names = [f"{name}/{split}/{name}{n}.jpg" for name in CLASSES for split in ("TRAIN", "Test") for n in range(4)]
    layout = read_layout(listing(*names))
    assert layout.warnings == () and by_split(layout)["test"] == 8


@pytest.mark.parametrize(
    ("page", "classes"),
    [
        ("cp866", ("Кошки", "Собаки")),
        ("cp1251", ("Кошки", "Собаки")),
        ("cp437", ("Bären", "Füchse")),
    ],
)
def test_names_of_an_old_zip_are_read_in_the_code_page_that_makes_letters_of_them(
    page: str, classes: tuple[str, ...]
) -> None:
    entries = tuple(Entry(name.encode(page).decode("cp437"), 1) for name in photos("", classes=classes))
    layout = read_layout(Listing(Path("data.zip"), "zip", entries, (), has_old_names=True))
    assert layout.classes == tuple(sorted(classes))
    assert f"names were read as {page}, such as " in layout.notes[0]


def test_the_names_of_a_folder_are_as_they_are() -> None:
    odd = "café".encode().decode("cp437")
    source = Listing(Path("data"), "folder", tuple(Entry(name, 1) for name in photos("", classes=(odd, "dog"))), ())
    assert set(read_layout(source).classes) == {odd, "dog"}


def test_a_small_folder_beside_the_splits_is_not_used_with_a_warning() -> None:
    layout = read_layout(full(*(f"Meta/{n}.png" for n in range(1))))
    assert by_split(layout) == ALL_SPLITS
    assert layout.warnings == ("1 file looks like a photo and is not used: the folder Meta is no split (Meta/0.png)",)
