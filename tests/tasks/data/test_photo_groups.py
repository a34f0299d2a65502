"""Tests of photos that belong together by a table, such as those of one patient: they stay in one split."""

from collections import defaultdict
from pathlib import Path

import pytest

from tasks.data.examination import Examined, examine_source
from tasks.data.photo_groups import group_column
from tasks.data.staging import locate, spool_directory
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.tasks.data.datasets import jpeg, write_folder

CLASSES = ("mel", "nv")


def lesions(count: int = 12, each: int = 2) -> dict[str, tuple[str, str]]:
    """Return photos with their classes and lesions: `each` photos of `count` lesions of each class."""
    return {
        f"ISIC_{label}_{lesion}_{number}": (label, f"HAM_{label}_{lesion}")
        for label in CLASSES
        for lesion in range(count)
        for number in range(each)
    }


def examined(folder: Path, home: Path) -> Examined:
    settings = Settings(home=home)
    source = locate(str(folder), settings, LineProgress)
    with spool_directory(settings) as spool:
        return examine_source(source, settings, spool, LineProgress)


def ham(column: str, root: str = "images", **splits: str) -> dict[str, bytes]:
    """Return photos and a table of their lesions as HAM10000 has it; `splits` are those of the photos' numbers."""
    rows = [f"{column},image_id,dx,age" + (",split" if splits else "")]
    files = {}
    for seed, (photo, (label, lesion)) in enumerate(lesions().items()):
        files[f"{root}/{photo}.jpg"] = jpeg(seed)
        rows.append(f"{lesion},{photo},{label},45.0" + (f",{splits[photo[-1]]}" if splits else ""))
    return {**files, "HAM10000_metadata.csv": "\n".join(rows).encode()}


@pytest.mark.parametrize("column", ["lesion_id", "PatientID", "subject"])
def test_photos_of_one_group_stay_in_one_split_and_a_note_says_so(tmp_path: Path, column: str) -> None:
    found = examined(write_folder(tmp_path / "skin", ham(column)), tmp_path / "home")
    by_lesion = defaultdict(set)
    for image in found.images:
        by_lesion[image.name.rpartition("_")[0]].add(image.split)
    assert len(by_lesion) == 24 and {len(splits) for splits in by_lesion.values()} == {1}
    assert {image.split for image in found.images} == {"train", "validation", "test"}
    assert f"photos with the same {column} are kept in one split: 24 values of 48 photos" in found.findings.notes
    assert found.findings.warnings == ()


def test_a_group_in_two_given_splits_is_warned_of(tmp_path: Path) -> None:
    files = ham("lesion_id", **{"0": "train", "1": "test"})
    found = examined(write_folder(tmp_path / "skin", files), tmp_path / "home")
    (told,) = (text for text in found.findings.warnings if "lesion_id" in text)
    assert told.startswith("24 values of lesion_id are in two splits (HAM_mel_0: ")
    assert "the accuracy may look too good" in told


def rows(groups: list[str], classes: str = "ab") -> list[tuple[dict[str, str], str]]:
    return [({"patient": group}, classes[index % len(classes)]) for index, group in enumerate(groups)]


@pytest.mark.parametrize(
    "groups",
    [
        [str(number) for number in range(12)],  # none has two photos
        ["left", "right"] * 6,  # too few, so that no split could be made of them
        [str(number // 2) for number in range(4)] * 3,
        [""] * 12,
    ],
)
def test_a_column_whose_values_cannot_be_kept_together_is_no_group(groups: list[str]) -> None:
    assert group_column(["patient"], rows(groups)) is None


def test_a_column_of_groups_is_known_by_its_name() -> None:
    groups = [str(number // 2) for number in range(24)]
    assert group_column(["age", "patient"], rows(groups)) == "patient"
    assert group_column(["age", "dx"], rows(groups)) is None
