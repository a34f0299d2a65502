"""Tests of photos that are there several times, in one class or in two, by the names of their classes and files."""

import tracemalloc

from tasks.data.judgement import LabelledImage
from tasks.data.repeats import class_warnings, contradictions, copy_warnings


def image(class_name: str, name: str, digest: str) -> LabelledImage:
    return LabelledImage("train", class_name, f"all my photos/{class_name}/{name}.jpg", digest)


def album(class_name: str, photos: range, others: int = 0) -> list[LabelledImage]:
    """Return photos of a class: those of some numbers, and `others` that no class has."""
    own = [image(class_name, f"own{number}", f"{class_name}{number}") for number in range(others)]
    return [*(image(class_name, str(number), str(number)) for number in photos), *own]


def test_copies_in_a_class_and_copies_in_two_classes_are_told_apart() -> None:
    images = [image("cat", "a", "1"), image("cat", "b", "1"), image("cat", "c", "2"), image("dog", "d", "2")]
    assert copy_warnings(images) == [
        "1 photo is an exact copy of another one in the same class: all my photos/cat/a.jpg = all my photos/cat/b.jpg"
    ]
    assert class_warnings(images, []) == [
        "1 photo is in two classes: 1 in cat and dog (all my photos/cat/c.jpg = dog/d.jpg)"
    ]


def test_warnings_name_the_first_files_and_the_number_of_the_others() -> None:
    copies = [image("cat", f"copy{number}", "1") for number in range(9)]
    (warning,) = copy_warnings(copies)
    assert warning.startswith("8 photos are exact copies of another one in the same class: ")
    assert warning.count(" = ") == 5 and warning.endswith("copy5.jpg and 3 more")


def test_copies_in_two_classes_are_told_by_pair_of_classes_with_counts() -> None:
    images = [*album("orchid", range(3)), *album("2022", range(5)), *album("rose", range(3, 5))]
    assert class_warnings(images, []) == [
        "5 photos are in two classes or more: 3 in 2022 and orchid (0.jpg), 2 in 2022 and rose (3.jpg)"
    ]


def test_photos_that_are_nearly_the_same_in_two_classes_are_told() -> None:
    images = [image("cat", "a", "1"), image("dog", "b", "2"), image("dog", "c", "3")]
    assert class_warnings(images, [(0, 1), (1, 2)]) == [
        "1 photo is nearly the same as one of another class: 1 in cat and dog (all my photos/cat/a.jpg = dog/b.jpg)"
    ]


def test_a_class_half_of_which_is_in_other_classes_contradicts_and_the_one_that_has_most_is_named() -> None:
    images = [*album("orchid", range(15), 1), *album("rose", range(20, 35), 1), *album("2022", range(10, 30), 8)]
    (told,) = contradictions(images)
    assert told == (
        "at least half of the photos of 2022 (15 of 28) and rose (10 of 16) are also in other classes: "
        "if 2022 is no class, remove its folder; --keep-duplicates keeps all of them"
    )


def test_a_few_copies_or_less_than_half_of_a_class_are_no_contradiction() -> None:
    assert contradictions([*album("cat", range(4)), *album("dog", range(4))]) == []
    assert contradictions([*album("cat", range(6), 7), *album("dog", range(6), 7)]) == []


def test_a_file_and_a_file_below_a_folder_of_its_name_are_told_apart() -> None:
    images = [LabelledImage("train", "cat", "a.jpg", "1"), LabelledImage("train", "dog", "a.jpg/b.jpg", "1")]
    assert class_warnings(images, []) == ["1 photo is in two classes: 1 in cat and dog (a.jpg = a.jpg/b.jpg)"]
    assert class_warnings(images[::-1], []) == ["1 photo is in two classes: 1 in cat and dog (a.jpg = a.jpg/b.jpg)"]


def test_photos_in_thousands_of_classes_are_told_without_a_pair_of_each_two() -> None:
    images = [image(f"c{number:04d}", f"{number}_{each}", f"{each}") for number in range(800) for each in range(6)]
    tracemalloc.start()
    (warning,), (told,) = class_warnings(images, []), contradictions(images)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert warning.startswith("6 photos are in two classes or more: 6 in up to 800 classes (")
    assert "if c0000, c0001, c0002 and 796 more are no classes" in told
    assert most < 8 * 2**20
