"""Tests of lists of labels, of names of classes and of splits, by sets that are laid out as public ones are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tasks.data.archive import Reader
from tasks.data.layout import Layout, read_layout
from tasks.data.unpacking import list_unpacked
from tasks.run.errors import SourceRefused
from tasks.run.progress import LineProgress
from tasks.run.records import SPLITS
from tasks.run.settings import Settings
from tests.tasks.data.datasets import jpeg, write_folder, write_zip

PHOTO = jpeg(1)
Placed = dict[str, tuple[str | None, str]]


def read(
    tmp_path: Path, photos: Sequence[str], texts: Mapping[str, str], *, kind: str = "zip"
) -> tuple[Layout, Placed]:
    """Write a set, list it, and return its layout, and the split and class of each photo by its name."""
    files = {**dict.fromkeys(photos, PHOTO), **{name: text.encode() for name, text in texts.items()}}
    path = tmp_path / "data"
    tmp_path.mkdir(exist_ok=True)
    (write_zip if kind == "zip" else write_folder)(path, files)
    listing = list_unpacked(path, Settings(), tmp_path, LineProgress)
    with Reader(listing.root, listing.kind) as reader:
        layout = read_layout(listing, reader.read)
    return layout, {listing.entries[each.index].name: (each.split, each.class_name) for each in layout.candidates}


def counts(placed: Placed) -> Counter[tuple[str | None, str]]:
    return Counter(placed.values())


WNIDS = ("n01443537", "n01629819", "n01641577")


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_tiny_imagenet_has_its_validation_from_a_list_with_boxes(tmp_path: Path, kind: str) -> None:
    root = "tiny-imagenet-200/"
    train = [f"{root}train/{name}/images/{name}_{n}.JPEG" for name in WNIDS for n in range(6)]
    val = [f"{root}val/images/val_{n}.JPEG" for n in range(12)]
    test = [f"{root}test/images/test_{n}.JPEG" for n in range(4)]
    boxes = "".join(f"val_{n}.JPEG\t{WNIDS[n % 3]}\t{n % 4}\t{n % 5}\t{60 + n % 3}\t{50 + n % 4}\n" for n in range(12))
    texts = {f"{root}train/{name}/{name}_boxes.txt": f"{name}_0.JPEG\t0\t0\t62\t62\n" * 6 for name in WNIDS}
    texts |= {f"{root}val/val_annotations.txt": boxes, f"{root}wnids.txt": "\n".join(WNIDS)}
    layout, placed = read(tmp_path, [*train, *val, *test], texts, kind=kind)
    assert layout.classes == WNIDS and layout.made == ("train", "test")
    assert counts(placed) == {(None, name): 6 for name in WNIDS} | {("validation", name): 4 for name in WNIDS}
    assert placed[f"{root}val/images/val_4.JPEG"] == ("validation", WNIDS[1])
    assert layout.notes[0] == ("the classes of 12 photos are from tiny-imagenet-200/val/val_annotations.txt, column 2")
    assert [each.name for each in layout.unused] == test
    assert "does not name the 4 photos of tiny-imagenet-200/test/images/" in layout.warnings[0]


def test_the_validation_of_tiny_imagenet_alone_is_told_by_the_one_column_of_words(tmp_path: Path) -> None:
    boxes = "".join(f"val_{n}.JPEG\t{WNIDS[n % 3]}\t{n % 4}\t{n % 5}\t{60 + n % 3}\t{50 + n % 4}\n" for n in range(12))
    layout, placed = read(tmp_path, [f"val/images/val_{n}.JPEG" for n in range(12)], {"val/val_annotations.txt": boxes})
    assert counts(placed) == {(None, name): 4 for name in WNIDS} and layout.made == SPLITS


SEPARATED = {
    "blanks": ("images/{n:04d}.jpg {label}", ""),
    "several blanks": ("  {n:04d}.jpg    {label}", ""),
    "tabs": ("images/{n:04d}.jpg\t{label}", ""),
    "semicolons": ("images/{n:04d}.jpg; {label}", ""),
    "commas": ("{n:04d},{label}", ""),
    "label first": ("{label} ./images/{n:04d}.jpg", ""),
    "whole paths": (r"C:\me\images\{n:04d}.jpg" + "\t{label}", ""),
    "header": ("{n:04d}.jpg {label}", "image_id class\n"),
    "comment": ("{n:04d} {label}", "# image class, made in 2019\n\n"),
    "count and header": ("{n:04d}.jpg {label}", "12\nimage class\n"),
}


@pytest.mark.parametrize("form", list(SEPARATED))
@pytest.mark.parametrize("name", ["labels.txt", "list.txt", "anno/image_labels.txt"])
def test_a_list_in_text_gives_the_classes_whatever_separates_it(tmp_path: Path, form: str, name: str) -> None:
    line, before = SEPARATED[form]
    text = before + "".join(line.format(n=n, label=("cat", "dog", "cow")[n % 3]) + "\r\n" for n in range(12))
    layout, placed = read(tmp_path, [f"images/{n:04d}.jpg" for n in range(12)], {name: text, "README.txt": "0001 x"})
    assert placed == {f"images/{n:04d}.jpg": (None, ("cat", "dog", "cow")[n % 3]) for n in range(12)}
    assert layout.notes[0].startswith(f"the classes of 12 photos are from {name}, column ")
    assert layout.notes[1:] == ("1 .txt is not a photo and is not used (README.txt)",) and layout.warnings == ()


def test_names_of_photos_with_blanks_are_read_up_to_the_last_one(tmp_path: Path) -> None:
    text = "".join(f"images/my photo {n}.jpg {n % 2}\n" for n in range(8))
    _, placed = read(tmp_path, [f"images/my photo {n}.jpg" for n in range(8)], {"list.txt": text})
    assert placed["images/my photo 3.jpg"] == (None, "1") and len(placed) == 8


@pytest.mark.parametrize("line", ["{photo} {label}", "{label} images/{photo}"])
def test_classes_of_one_or_more_words_are_read_whole(tmp_path: Path, line: str) -> None:
    classes = ("pug", "border collie", "St. Bernard dog")
    text = "".join(line.format(photo=f"{n}.jpg", label=classes[n % 3]) + "\n" for n in range(12))
    layout, placed = read(tmp_path, [f"images/{n}.jpg" for n in range(12)], {"list.txt": text})
    assert counts(placed) == {(None, name): 4 for name in classes} and layout.warnings == ()


def test_paths_with_blanks_in_lists_of_splits_are_no_classes(tmp_path: Path) -> None:
    photos = [f"images/{name}/{n}.jpg" for name in ("border collie", "pug") for n in range(6)]
    texts = {"train.txt": "\n".join(photos[:4] + photos[6:10]), "test.txt": "\n".join(photos[4:6] + photos[10:])}
    layout, placed = read(tmp_path, photos, texts)
    assert counts(placed)["test", "border collie"] == 2 and layout.classes == ("border collie", "pug")


def test_lists_of_three_labels_of_one_photo_are_told_apart_by_which_one_is_given(tmp_path: Path) -> None:
    """FGVC-Aircraft has lists of variants, of families and of manufacturers, each in parts."""
    photos = [f"data/images/{1000000 + n}.jpg" for n in range(12)]
    variants = [f"{1000000 + n} {('707-320', 'A340-200', 'A340-300')[n % 3]}" for n in range(12)]
    makers = [f"{1000000 + n} {('Boeing', 'Airbus', 'Airbus')[n % 3]}" for n in range(12)]
    texts = {"images_variant_trainval.txt": "\n".join(variants[:9]), "images_variant_test.txt": "\n".join(variants[9:])}
    texts |= {"images_box.txt": "\n".join(f"{1000000 + n} 3 {n % 4} 1019 {500 + n % 3}" for n in range(12))}
    layout, placed = read(tmp_path / "a", photos, texts)
    assert layout.classes == ("707-320", "A340-200", "A340-300") and counts(placed)["test", "707-320"] == 1
    with pytest.raises(SourceRefused, match=r"images_manufacturer_test\.txt|images_variant_test\.txt says that"):
        read(tmp_path / "b", photos, {**texts, "images_manufacturer_test.txt": "\n".join(makers[9:])})


NAMES = {
    "number and name": ("classes.txt", "0 beagle\n1 border collie\n2 pug\n3 whippet"),
    "name and number": ("words.txt", "beagle 0\nborder collie 1\npug 2\nwhippet 3"),
    "padded": ("synsets/list_of_names.txt", "000\tbeagle\n001\tborder collie\n002\tpug\n003\twhippet"),
    "csv": ("signs.csv", "ClassId,Name\n0,beagle\n1,border collie\n2,pug\n3,whippet"),
    "one a line": ("class_names.txt", "beagle\nborder collie\npug\nwhippet\n"),
    "more than are used": ("labels.txt", "0 beagle\n1 border collie\n2 pug\n3 whippet\n4 poodle"),
}


@pytest.mark.parametrize("form", list(NAMES))
def test_a_second_list_names_the_classes(tmp_path: Path, form: str) -> None:
    file, text = NAMES[form]
    labels = "".join(f"images/{n:04d}.jpg {n % 4}\n" for n in range(12))
    layout, placed = read(tmp_path, [f"images/{n:04d}.jpg" for n in range(12)], {"images.txt": labels, file: text})
    assert counts(placed) == {(None, name): 3 for name in ("beagle", "border collie", "pug", "whippet")}
    assert placed["images/0003.jpg"] == (None, "whippet")
    assert layout.notes == (
        "the classes of 12 photos are from images.txt, column 2",
        f"the names of the classes are from {file}",
    )


def test_names_one_a_line_begin_at_one_if_the_numbers_do(tmp_path: Path) -> None:
    labels = "".join(f"{n}.jpg {n % 3 + 1}\n" for n in range(9))
    _, placed = read(tmp_path, [f"jpg/{n}.jpg" for n in range(9)], {"y.txt": labels, "classes.txt": "a\nb\nc"})
    assert placed["jpg/0.jpg"] == (None, "a") and placed["jpg/8.jpg"] == (None, "c")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({}, "the classes are numbers, and no list here names them"),
        ({"notes.txt": "beagle\npug\n"}, "the classes are numbers, and no list here names them"),
        ({"classes.txt": "0 beagle\n"}, "the classes are numbers, and no list here names them"),
        ({"classes.txt": "1 beagle\n2 pug\n"}, "the classes are numbers, and no list here names them"),
        ({"classes.txt": f"0 beagle\n{'1' * 5000} pug\n"}, "the classes are numbers, and no list here names them"),
        (
            {"classes.txt": "0 beagle\n1 pug\n", "names.txt": "0 pug\n1 beagle\n"},
            "the classes are numbers, because classes.txt, names.txt name them differently",
        ),
    ],
    ids=["none", "no list of classes", "not all", "from one", "too long", "two"],
)
def test_without_one_list_of_names_the_classes_stay_numbers_and_it_is_told(
    tmp_path: Path, texts: Mapping[str, str], told: str
) -> None:
    labels = "".join(f"{n}.jpg {n % 2}\n" for n in range(8))
    layout, placed = read(tmp_path, [f"jpg/{n}.jpg" for n in range(8)], {"y.txt": labels, **texts})
    assert layout.classes == ("0", "1") and len(placed) == 8
    assert layout.notes[1].startswith(told)


def test_lists_of_splits_with_labels_give_the_split_and_the_class(tmp_path: Path) -> None:
    """Caffe's and ImageNet's lists, here with all photos in one folder."""
    parts = {"train": range(8), "val": range(8, 12), "test": range(12, 16)}
    texts = {f"{name}.txt": "".join(f"images/{n:02d}.jpg {n % 2}\n" for n in own) for name, own in parts.items()}
    photos = [f"images/{n:02d}.jpg" for n in range(17)]
    layout, placed = read(tmp_path, photos, {**texts, "classes.txt": "cat\ndog"})
    assert counts(placed) == {
        (split, name): count
        for split, count in (("train", 4), ("validation", 2), ("test", 2))
        for name in ("cat", "dog")
    }
    assert placed["images/09.jpg"] == ("validation", "dog") and layout.made == ()
    assert layout.notes == (
        "the classes of 16 photos are from test.txt, train.txt and val.txt, column 2",
        "the names of the classes are from classes.txt",
        "the splits are from train.txt, val.txt, test.txt (train 8, validation 4, test 4)",
    )
    assert layout.warnings == ("no table names 1 of the 17 photos of images/ (images/16.jpg), which is not used",)


def test_lists_beside_folders_of_splits_name_the_photos_of_their_own_folder(tmp_path: Path) -> None:
    photos = [f"{split}/{n}.jpg" for split in ("train", "val") for n in range(8)]
    texts = {"train.txt": "".join(f"{n}.jpg {n % 2}\n" for n in range(8))}
    texts["val.txt"] = "".join(f"{n}.jpg {(n + 1) % 2}\n" for n in range(8))
    layout, placed = read(tmp_path, photos, texts)
    assert placed["train/0.jpg"] == (None, "0") and placed["val/0.jpg"] == ("validation", "1")
    assert (len(placed), layout.made) == (16, ("train", "test"))


def test_imagenet_has_its_validation_by_the_lines_of_the_list_of_its_folders(tmp_path: Path) -> None:
    train = [f"ILSVRC/Data/train/{name}/{name}_{n}.JPEG" for name in WNIDS for n in range(4)]
    val = [f"ILSVRC/Data/val/ILSVRC2012_val_{n:08d}.JPEG" for n in range(6)]
    texts = {
        "val.txt": "".join(f"ILSVRC2012_val_{n:08d}.JPEG {n % 3}\n" for n in range(6)),
        "synset_words.txt": "n01443537 goldfish, Carassius auratus\nn01629819 salamander\nn01641577 bullfrog\n",
    }
    layout, placed = read(tmp_path, [*train, *val], texts)
    assert placed["ILSVRC/Data/val/ILSVRC2012_val_00000005.JPEG"] == ("validation", "n01641577")
    assert layout.classes == WNIDS and counts(placed) == {(None, c): 4 for c in WNIDS} | {
        ("validation", c): 2 for c in WNIDS
    }


def food(classes: Sequence[str] = ("apple_pie", "sushi"), count: int = 8) -> list[str]:
    return [f"food-101/images/{name}/{100 + n}.jpg" for name in classes for n in range(count)]


def test_food_101_has_its_splits_from_lists_of_paths(tmp_path: Path) -> None:
    """The photos of both classes have the same names, so that only class/name tells them apart."""
    texts = {
        f"food-101/meta/{split}.txt": "\n".join(f"{name}/{100 + n}" for name in ("apple_pie", "sushi") for n in own)
        for split, own in (("train", range(6)), ("test", range(6, 8)))
    }
    texts |= {"food-101/meta/classes.txt": "apple_pie\nsushi", "food-101/meta/labels.txt": "Apple pie\nSushi"}
    layout, placed = read(tmp_path, food(), texts)
    assert layout.classes == ("apple_pie", "sushi") and layout.made == ("train", "validation")
    assert counts(placed) == {(None, name): 6 for name in layout.classes} | {("test", n): 2 for n in layout.classes}
    assert placed["food-101/images/sushi/107.jpg"] == ("test", "sushi")
    assert layout.notes == (
        "the splits are from food-101/meta/train.txt, food-101/meta/test.txt (train 12, test 4)",
        "2 .txt are not photos and are not used (food-101/meta/classes.txt and food-101/meta/labels.txt)",
    )


def listed_food(name: str, numbers: Sequence[int]) -> dict[str, str]:
    return {f"food-101/{name}": "\n".join(f"{each}/{100 + n}.jpg" for each in ("apple_pie", "sushi") for n in numbers)}


def test_photos_in_no_list_are_of_train_unless_there_is_a_list_of_it(tmp_path: Path) -> None:
    testing = listed_food("validation_list.txt", [0, 1]) | listed_food("testing_list.txt", [2, 3, 4])
    layout, placed = read(tmp_path / "a", food(), testing)
    assert counts(placed)["train", "sushi"] == 3 and counts(placed)["test", "sushi"] == 3 and layout.made == ()
    assert layout.notes[0].endswith("(train 6, validation 4, test 6); 6 photos in none of them are of train")
    layout, placed = read(tmp_path / "b", food(), testing | listed_food("train_list.txt", [5, 6]))
    assert counts(placed)["train", "sushi"] == 2 and len(placed) == 14
    assert layout.warnings[0].startswith("2 files look like photos and are not used: no list of a split names it")


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (
            listed_food("train.txt", [0, 1, 2, 3, 4]) | listed_food("test.txt", [4, 5, 6, 7]),
            "apple_pie/104.jpg is in two",
        ),
        (listed_food("train.txt", [0, 1]) | listed_food("test.txt", [4]), "they name only 6 of 16 photos"),
    ],
    ids=["twice", "few"],
)
def test_lists_of_splits_that_do_not_fit_are_named_and_splits_are_made(
    tmp_path: Path, texts: Mapping[str, str], why: str
) -> None:
    layout, placed = read(tmp_path, food(), texts)
    assert {split for split, _ in placed.values()} == {None} and layout.made == SPLITS and len(placed) == 16
    assert layout.warnings[0].startswith("food-101/train.txt, food-101/test.txt are not used for the splits: ")
    assert why in layout.warnings[0]


def test_of_numbered_lists_that_disagree_the_first_ones_are_used(tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    for fold in (1, 2, 10):
        for split, at in (("train", 0), ("val", 1), ("test", 2)):
            texts |= listed_food(f"labels/{split}{fold}.txt", [n for n in range(8) if (n + fold) % 3 == at])
    layout, placed = read(tmp_path, food(), texts)
    assert placed["food-101/images/sushi/102.jpg"][0] == "train" and len(placed) == 16
    assert layout.notes[0].startswith("the splits are from food-101/labels/train1.txt, food-101/labels/val1.txt, ")


PETS = {"Abyssinian": (1, 1, 1), "american_bulldog": (2, 2, 1), "Bengal": (3, 1, 2), "boxer": (4, 2, 2)}


def pets(numbers: Sequence[int]) -> str:
    return "".join(
        f"{name}_{n} {label} {species} {breed}\n" for name, (label, species, breed) in PETS.items() for n in numbers
    )


OXFORD = [f"images/{name}_{n}.jpg" for name in PETS for n in range(1, 9)]
LIST = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n" + pets(range(1, 9))


def test_oxford_pets_are_named_by_their_photos_where_a_list_agrees(tmp_path: Path) -> None:
    masks = [name.replace("images", "annotations/trimaps").replace("jpg", "png") for name in OXFORD]
    boxes = {name.replace("images", "annotations/xmls").replace("jpg", "xml"): "<a/>" for name in OXFORD}
    layout, placed = read(tmp_path, [*OXFORD, *masks], {"annotations/list.txt": LIST, **boxes})
    assert counts(placed) == {(None, name): 8 for name in PETS} and layout.made == SPLITS
    assert layout.notes[:2] == (
        "the classes of 32 photos are from annotations/list.txt, column 2",
        "the classes are named by what the names of their photos begin with",
    )
    assert len(layout.unused) == 32


def test_oxford_pets_have_their_splits_from_trainval_and_test(tmp_path: Path) -> None:
    texts = {"list.txt": LIST, "trainval.txt": pets(range(1, 6)), "test.txt": pets(range(6, 9))}
    layout, placed = read(tmp_path, OXFORD, {f"annotations/{name}": text for name, text in texts.items()})
    assert counts(placed) == {(None, name): 5 for name in PETS} | {("test", name): 3 for name in PETS}
    assert layout.made == ("train", "validation")


def test_names_that_do_not_agree_with_the_list_are_refused(tmp_path: Path) -> None:
    wrong = LIST.replace("boxer_3 4", "boxer_3 1")
    with pytest.raises(SourceRefused, match=r"list\.txt(?s:.*)which of column 2, column 3, column 4 has the classes"):
        read(tmp_path, OXFORD, {"annotations/list.txt": wrong})


def test_names_with_ages_and_no_list_are_refused_with_the_advice(tmp_path: Path) -> None:
    photos = [f"UTKFace/{age}_{sex}_0_20170{age}.jpg" for age in range(20, 40) for sex in (0, 1)]
    with pytest.raises(SourceRefused, match="no table names them") as refused:
        read(tmp_path / "a", photos, {"landmark_list.txt": "no photo"})
    assert "write a labels.csv with the columns file_name and label" in refused.value.next_command
    with pytest.raises(SourceRefused, match="begin with 4 words"):
        read(tmp_path / "b", OXFORD, {"train.txt": "\n".join(OXFORD)})


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_gtsrb_has_its_test_from_a_table_with_many_columns(tmp_path: Path, kind: str) -> None:
    columns = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    train = [f"GTSRB/Final_Training/Images/{c:05d}/00000_{n:05d}.ppm" for c in range(25) for n in range(3)]
    test = [f"GTSRB/Final_Test/Images/{n:05d}.ppm" for n in range(50)]
    texts = {
        f"GTSRB/Final_Training/Images/{c:05d}/GT-{c:05d}.csv": f"{columns}\n"
        + "".join(f"00000_{n:05d}.ppm;29;30;5;6;24;25;{c}\n" for n in range(3))
        for c in range(25)
    }
    rows = [f"{n:05d}.ppm;{50 + n % 3};54;6;5;48;49" for n in range(50)]
    texts["GTSRB/Final_Test/Images/GT-final_test.test.csv"] = "\n".join([columns.rpartition(";")[0], *rows])
    texts["GT-final_test.csv"] = "\n".join([columns, *(f"{row};{n % 25}" for n, row in enumerate(rows))])
    layout, placed = read(tmp_path, [*train, *test], texts, kind=kind)
    assert layout.classes == tuple(f"{c:05d}" for c in range(25)) and layout.made == ("train", "validation")
    assert counts(placed) == {(None, c): 3 for c in layout.classes} | {("test", c): 2 for c in layout.classes}
    assert placed["GTSRB/Final_Test/Images/00027.ppm"] == ("test", "00002")
    assert layout.notes[:2] == (
        "the classes of 50 photos are from GT-final_test.csv, column ClassId",
        "classes in tables are the folders of the same numbers, such as 0 is 00000",
    )
    assert layout.warnings == ()


def test_two_lists_that_disagree_on_a_photo_are_refused(tmp_path: Path) -> None:
    photos = [f"jpg/{n:03d}.jpg" for n in range(8)]
    texts = {
        "identity.txt": "".join(f"{n:03d}.jpg {n % 3}\n" for n in range(8)),
        "smiling.txt": "".join(f"{n:03d}.jpg {n % 2}\n" for n in range(8)),
    }
    with pytest.raises(SourceRefused, match=r"smiling\.txt(?s:.*) and identity\.txt says that it is 2: give only"):
        read(tmp_path, photos, texts)


def test_a_column_that_is_named_as_that_of_classes_goes_before_one_that_is_found_by_looking(tmp_path: Path) -> None:
    photos = [f"jpg/{n}.jpg" for n in range(8)]
    texts = {
        "sizes.csv": "photo,size\n" + "".join(f"{n}.jpg,{('big', 'small')[n % 2]}\n" for n in range(8)),
        "birds.csv": "photo,species\n" + "".join(f"{n}.jpg,{('tit', 'owl')[n // 4]}\n" for n in range(8)),
    }
    layout, placed = read(tmp_path, photos, texts)
    assert placed["jpg/1.jpg"] == (None, "tit") and layout.classes == ("owl", "tit")
    assert layout.notes == (
        "the classes of 8 photos are from birds.csv, column species",
        "sizes.csv is not used: birds.csv gives the classes",
    )


def test_lists_that_disagree_beside_folders_of_classes_are_warned_of(tmp_path: Path) -> None:
    photos = [f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(4)] + [f"val/{n}.jpg" for n in range(8)]
    texts = {f"val/by_{by}.txt": "".join(f"{n}.jpg {('cat', 'dog')[n // by % 2]}\n" for n in range(8)) for by in (1, 2)}
    layout, placed = read(tmp_path, photos, texts)
    assert len(placed) == 8 and layout.warnings[0].startswith("no table of labels is used: val/by_2.txt ")


@pytest.mark.parametrize(
    ("line", "photos"),
    [("{n:06d} {flag}", "VOC/JPEGImages/"), ("{n:06d}.jpg {score}", "jpg/"), ("{n:06d}.jpg {n}", "jpg/")],
    ids=["flags", "scores", "all different"],
)
def test_numbers_that_are_no_classes_are_not_taken_for_them(tmp_path: Path, line: str, photos: str) -> None:
    text = "".join(line.format(n=n, flag=(-1, 1, 0)[n % 3], score=(0.5, 0.25)[n % 2]) + "\n" for n in range(12))
    with pytest.raises(SourceRefused, match="aeroplane_set"):
        read(tmp_path, [f"{photos}{n:06d}.jpg" for n in range(12)], {"aeroplane_set.txt": text})


def test_boxes_of_yolo_beside_the_photos_are_no_lists(tmp_path: Path) -> None:
    photos = [f"train/images/{3 * n:06d}.jpg" for n in range(8)]
    texts = {f"train/labels/{3 * n:06d}.txt": "0 0.5 0.5 0.1 0.1\n" for n in range(8)}
    with pytest.raises(SourceRefused, match=r"object detection \(YOLO\)"):
        read(tmp_path, photos, {**texts, "train.txt": "\n".join(photos)})
