"""Tests of sets that are laid out as public ones are, with made-up pictures, read from the first to the last."""

from collections import Counter
from pathlib import Path

import pytest

from tasks.data.examination import Examined, examine_source
from tasks.data.staging import locate, spool_directory
from tasks.run.errors import SourceRefused
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.tasks.data.datasets import encoded, jpeg, picture, write_folder
from tests.training.pictures.test_decode import tiff

LANDS = ("AnnualCrop", "Forest")
HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def examined(folder: Path, home: Path) -> Examined:
    settings = Settings(home=home)
    source = locate(str(folder), settings, LineProgress)
    with spool_directory(settings) as spool:
        return examine_source(source, settings, spool, LineProgress)


def counts(found: Examined) -> dict[str, int]:
    return dict(Counter(image.class_name for image in found.images))


def eurosat(root: str, ending: str) -> dict[str, bytes]:
    """Return EuroSAT as Kaggle has it: folders of classes with the authors' splits beside them."""
    files: dict[str, bytes] = {}
    rows: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for label, land in enumerate(LANDS):
        for number in range(10):
            name = f"{land}/{land}_{number}.{ending}"
            seed = 100 * label + number
            files[f"{root}/{name}"] = jpeg(seed) if ending == "jpg" else tiff("<", 13, 16, 1)
            split = "train" if number < 6 else "validation" if number < 8 else "test"
            rows[split].append(f"{len(rows[split])},{name},{label},{land}")
    tables = {
        f"{root}/{split}.csv": "\n".join([",Filename,Label,ClassName", *each]).encode() for split, each in rows.items()
    }
    return {**files, **tables, f"{root}/label_map.json": b"{}"}


def test_eurosat_and_its_bands_are_refused_before_a_picture_is_read(tmp_path: Path) -> None:
    both = {**eurosat("EuroSAT", "jpg"), **eurosat("EuroSATallBands", "tif")}
    folder = write_folder(tmp_path / "eurosat dataset", both)
    with pytest.raises(SourceRefused, match="EuroSAT and EuroSATallBands each have the folders") as refused:
        examined(folder, tmp_path / "home")
    assert f"kennel inspect '{folder}/EuroSAT' (for kennel run: --data" in refused.value.next_command


def test_eurosat_alone_has_the_splits_of_its_authors(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", eurosat("EuroSAT", "jpg"))
    found = examined(folder, tmp_path / "home")
    assert counts(found) == dict.fromkeys(LANDS, 10) and found.problems == ()
    assert Counter(image.split for image in found.images) == {"train": 12, "validation": 4, "test": 4}
    assert found.findings.warnings == ()


def test_the_bands_of_eurosat_are_refused_by_their_number_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "bands", eurosat("EuroSATallBands", "tif"))
    broken = examined(folder, tmp_path / "home").problems[0]
    assert broken.startswith(
        "20 of 20 files cannot be used, more than the 5.0% allowed (20 x it is a TIFF with 13 bands"
    )
    assert broken.count("bands,") == 1 and "damaged" not in broken


def gtsrb() -> dict[str, bytes]:
    """Return GTSRB as its authors have it: zeros before the classes of train, and a table of numbers for the test."""
    files: dict[str, bytes] = {}
    tested = [HEAD]
    for label in range(3):
        rows = [HEAD]
        for track in range(6):
            name = f"{track:05d}_00000.ppm"
            files[f"GTSRB/Final_Training/Images/{label:05d}/{name}"] = encoded(picture(10 * label + track), "PPM")
            rows.append(f"{name};40;30;5;5;35;25;{label}")
        files[f"GTSRB/Final_Training/Images/{label:05d}/GT-{label:05d}.csv"] = "\r\n".join(rows).encode()
        for number in range(2):
            name = f"{2 * label + number:05d}.ppm"
            files[f"GTSRB/Final_Test/Images/{name}"] = encoded(picture(500 + 10 * label + number), "PPM")
            tested.append(f"{name};40;30;5;5;35;25;{label}")
    return {**files, "GT-final_test.csv": "\r\n".join(tested).encode(), "GTSRB/Readme-Images.txt": b"GTSRB"}


def test_gtsrb_has_its_classes_with_zeros_and_its_test_of_numbers(tmp_path: Path) -> None:
    found = examined(write_folder(tmp_path / "gtsrb", gtsrb()), tmp_path / "home")
    assert counts(found) == {"00000": 8, "00001": 8, "00002": 8} and found.problems == ()
    assert sum(image.split == "test" for image in found.images) == 6
    notes = found.findings.notes
    assert any("0 is 00000" in note for note in notes)
    assert "the data has no validation split: 3 of its 18 train photos are taken for validation (seed 0)" in notes
