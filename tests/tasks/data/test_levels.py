"""Tests of folders between a source and its classes: indexes by letter, years, parts, albums, and levels in doubt."""

from collections import Counter
from pathlib import Path

import pytest

from tasks.data.entries import Entry, Listing
from tasks.data.layout import Layout, read_layout
from tasks.run.errors import SourceRefused

SUN = ("a/abbey", "b/bathroom", "b/bazaar/indoor", "b/bazaar/outdoor", "c/cathedral/indoor", "c/casino/indoor")
PLANTS = ("color/apple", "color/grape", "grayscale/apple", "grayscale/grape")


def listing(*folders: str, each: int = 4, path: Path | str = Path("data"), more: tuple[str, ...] = ()) -> Listing:
    """Return a folder with photos of different names in these folders."""
    names = [f"{folder}/{number}{folder[0]}.jpg" for folder in folders for number in range(each)]
    root = path if isinstance(path, Path) else Path()
    return Listing(path, "folder", tuple(Entry(name, 1) for name in (*names, *more)), (), root)


def by_class(layout: Layout) -> dict[str, int]:
    return dict(Counter(each.class_name for each in layout.candidates))


def test_an_index_by_first_letter_is_passed_and_a_class_is_the_path_below_it() -> None:
    layout = read_layout(listing(*(f"SUN397/{name}" for name in SUN), more=("SUN397/ClassName.txt",)))
    assert by_class(layout) == {name[2:]: 4 for name in SUN} and layout.warnings == ()
    assert "folders of one letter are an index" in layout.notes[0] and layout.made


def test_an_index_in_each_split_is_passed() -> None:
    layout = read_layout(listing(*(f"{split}/{name}" for split in ("train", "val", "test") for name in SUN)))
    assert by_class(layout) == {name[2:]: 12 for name in SUN} and not layout.made


def test_a_class_below_an_index_has_all_photos_below_it_if_it_has_own_ones() -> None:
    layout = read_layout(listing("a/Abbey", "a/Abbey/old", "B/bar/images", "B/bay"))
    assert by_class(layout) == {"Abbey": 8, "bar": 4, "bay": 4}


@pytest.mark.parametrize(
    "folders",
    [
        ("a", "b", "c"),  # letters of a sign language
        ("a/abbey", "b/cathedral", "b/bar"),
        ("a/x1", "a/x2", "b/x1"),
    ],
)
def test_letters_that_are_classes_are_no_index(folders: tuple[str, ...]) -> None:
    layout = read_layout(listing(*folders), class_folder="first")
    assert set(by_class(layout)) == {folder[0] for folder in folders} and layout.warnings == ()


def test_folders_with_the_same_folders_are_refused_with_a_command_that_a_shell_takes() -> None:
    source = listing(*(f"plant set/{name}" for name in PLANTS), path=Path("my data"))
    with pytest.raises(SourceRefused) as caught:
        read_layout(source)
    assert caught.value.what == "color and grayscale each have the folders apple and grape"
    told = caught.value.next_command
    assert "kennel inspect 'my data/plant set/color' (for kennel run: --data 'my data/plant set/color')" in told
    assert "write a labels.csv" in told


def test_of_an_archive_with_the_same_folders_one_has_to_be_unpacked() -> None:
    packed = listing(*PLANTS)
    with pytest.raises(SourceRefused) as caught:
        read_layout(Listing(Path("set.zip"), "zip", packed.entries, ()))
    assert "unpack set.zip and give one of its folders as the data, such as color" in caught.value.next_command


def test_of_a_prefix_with_the_same_folders_one_can_be_given() -> None:
    with pytest.raises(SourceRefused, match="kennel inspect s3://bucket/set/color ") as caught:
        read_layout(listing(*PLANTS, path="s3://bucket/set/"))
    assert "labels.csv" in caught.value.next_command


def test_views_in_each_split_are_refused_with_what_to_keep() -> None:
    folders = [f"{split}/{name}" for split in ("train", "test") for name in PLANTS]
    with pytest.raises(SourceRefused, match="keep color alone in each split"):
        read_layout(listing(*folders))


def test_wrapped_domains_with_the_same_folders_are_refused() -> None:
    with pytest.raises(SourceRefused, match="kennel inspect data/amazon/images"):
        read_layout(listing(*(f"{domain}/images/{name}" for domain in ("amazon", "dslr") for name in ("mug", "pen"))))


@pytest.mark.parametrize(
    ("outer", "shown"),
    [
        (("2021", "2022"), "2021 and 2022"),
        (("2021-05-03", "2021-06-10", "2022-01"), "2021-05-03, 2021-06-10 and 2022-01"),
        (("part1", "part2"), "part1 and part2"),
        (("fold 1", "fold 2"), "fold 1 and fold 2"),
    ],
)
def test_years_dates_and_parts_with_the_same_classes_are_joined(outer: tuple[str, ...], shown: str) -> None:
    layout = read_layout(listing(*(f"{each}/{name}" for each in outer for name in ("cat", "dog")), f"{outer[0]}/owl"))
    assert by_class(layout) == {"cat": 4 * len(outer), "dog": 4 * len(outer), "owl": 4}
    assert layout.notes[0] == f"{shown} are parts of one set: the classes are the folders in them (cat, dog and owl)"


def test_classes_without_photos_of_their_own_are_one_warning_with_what_to_do() -> None:
    layout = read_layout(listing("rosa/alba", "rosa/canina", "acer/rubrum", "acer/palmatum", "ilex"))
    assert set(by_class(layout)) == {"acer", "ilex", "rosa"}
    assert layout.warnings == (
        "the classes acer and rosa have no photos of their own: those of the folders below are taken together "
        "(acer: palmatum and rubrum); if these folders are the classes, give --class-folder last, "
        "or write a labels.csv with the columns file_name and label",
    )


def test_google_photos_lists_by_year_are_left_out_and_photos_in_no_album_are_counted() -> None:
    albums = listing("Google Photos/Roses", "Google Photos/Orchids")
    years = [Entry(entry.name.replace("Roses", "Photos from 2022"), 1) for entry in albums.entries[:4]]
    other = Entry("Google Photos/Photos from 2022/IMG_1.jpg", 1)
    layout = read_layout(Listing(Path("takeout"), "folder", (*albums.entries, *years, other), ()))
    assert by_class(layout) == {"Orchids": 4, "Roses": 4}
    assert [text.partition(":")[0] for text in layout.warnings] == [
        "4 files look like photos and are not used",
        "1 file looks like a photo and is not used",
    ]
    assert "they are in no album" in layout.warnings[1] and "IMG_1.jpg" in layout.warnings[1]


def test_numbers_with_leading_zeros_in_one_split_are_the_classes_of_the_others() -> None:
    layout = read_layout(listing("train/00000", "train/00001", "test/0", "test/1"))
    assert by_class(layout) == {"00000": 8, "00001": 8}
    assert "classes whose numbers differ only by leading zeros are joined: 0 is 00000 and 1 is 00001" in layout.notes


def test_numbers_that_one_split_has_in_both_forms_are_two_classes() -> None:
    layout = read_layout(listing("train/1", "train/01", "test/1", "test/01"))
    assert by_class(layout) == {"01": 8, "1": 8}
