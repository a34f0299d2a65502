"""Tests of splits that are made: shares, at least one photo each, twins together, and old photos that stay."""

import hashlib
from collections import Counter

import pytest

from tasks.data.splits import Photo, distribute

SHARES = {"train": 80, "validation": 10, "test": 10}


def made_photos(count: int, class_name: str = "cat") -> list[Photo]:
    return [Photo(class_name, hashlib.sha256(f"{class_name} {n}".encode()).hexdigest()) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "wanted"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (10, (8, 1, 1)), (200, (160, 20, 20))]
)
def test_each_class_is_split_by_the_shares_and_has_one_photo_in_each(count: int, wanted: tuple[int, ...]) -> None:
    photos = [*made_photos(count), *made_photos(50, "dog")]
    splits = distribute(photos, [], SHARES, seed=0, known={})
    counts = Counter(zip((photo.class_name for photo in photos), splits, strict=True))
    assert tuple(counts["cat", split] for split in SHARES) == wanted
    assert tuple(counts["dog", split] for split in SHARES) == (40, 5, 5)


def test_the_order_of_the_files_does_not_matter_and_the_seed_does() -> None:
    photos = made_photos(100)
    splits = distribute(photos, [], SHARES, seed=0, known={})
    assert distribute(photos[::-1], [], SHARES, seed=0, known={}) == splits[::-1]
    assert distribute(photos, [], SHARES, seed=1, known={}) != splits


def test_only_the_splits_that_are_missing_are_made() -> None:
    splits = distribute(made_photos(90), [], {"train": 80, "test": 10}, seed=0, known={})
    assert Counter(splits) == {"train": 80, "test": 10}


def test_twins_are_in_one_split() -> None:
    pairs = [(n, n + 1) for n in range(0, 100, 2)]
    splits = distribute(made_photos(100), pairs, SHARES, seed=0, known={})
    assert all(splits[one] == splits[other] for one, other in pairs)
    assert Counter(splits) == {"train": 80, "validation": 10, "test": 10}


def test_no_old_photo_changes_its_split_when_photos_are_added_and_the_shares_hold() -> None:
    photos = made_photos(400)
    known: dict[str, str] = {}
    for count in (30, 31, 100, 400):
        splits = distribute(photos[:count], [], SHARES, seed=0, known=known)
        assert all(known.get(photo.digest, split) == split for photo, split in zip(photos, splits, strict=False))
        known |= {photo.digest: split for photo, split in zip(photos, splits, strict=False)}
    assert Counter(known.values()) == {"train": 320, "validation": 40, "test": 40}


def test_a_new_photo_joins_the_oldest_of_its_twins() -> None:
    photos = made_photos(3)
    known = {photos[1].digest: "test", photos[0].digest: "train"}
    assert distribute(photos, [(0, 2), (1, 2)], SHARES, seed=0, known=known) == ["train", "test", "test"]


def test_old_photos_nearly_all_keep_their_splits_where_nothing_is_known_of_them() -> None:
    """On another machine, or when the record was lost: the two ends of one order are far from each other."""
    photos = made_photos(1100)
    before = distribute(photos[:1000], [], SHARES, seed=0, known={})
    after = distribute(photos, [], SHARES, seed=0, known={})
    moved = Counter((old, new) for old, new in zip(before, after, strict=False) if old != new)
    assert moved["test", "validation"] == moved["validation", "test"] == 0
    assert moved["test", "train"] + moved["validation", "train"] <= 8
    assert Counter(after) == {"train": 880, "validation": 110, "test": 110}


def test_a_large_group_of_twins_goes_where_it_fits_and_train_is_never_empty() -> None:
    pairs = [(0, n) for n in range(1, 12)]
    counts = Counter(distribute(made_photos(40), pairs, SHARES, seed=0, known={}))
    assert counts == {"train": 32, "validation": 4, "test": 4}
    few = Counter(distribute(made_photos(5), [], {"train": 10, "validation": 10, "test": 80}, seed=0, known={}))
    assert few["train"] >= 1 and few["test"] == 3
