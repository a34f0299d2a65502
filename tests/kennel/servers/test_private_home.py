"""Homes and runs of release 0.1.0, which other users could read, are closed; what is not kennel's stays as it is."""

from pathlib import Path

import pytest

from kennel.servers.private_home import foreign_folders, make_private


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return made(tmp_path / ".kennel", "prefect/prefect.db", "localaws/objects/1")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return made(tmp_path / "runs", "dogs/lock", "dogs/report.html")


def made(folder: Path, *names: str) -> Path:
    """Make open files below an open folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def still_open(folder: Path) -> set[str]:
    found = [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]
    return {str(path.relative_to(folder)) for path in found}


def test_everything_is_closed_and_found_once(home: Path, runs: Path) -> None:
    assert make_private(home, runs)
    assert still_open(home) == still_open(runs) == set()
    assert make_private(home, runs) == []


def test_what_is_not_kennels_keeps_its_mode_and_its_folder_stays_open(home: Path, runs: Path) -> None:
    made(home, "mine.txt")
    made(runs, "photos/1.jpg")
    home.chmod(0o755)
    assert make_private(home, runs)
    assert still_open(home) == {".", "mine.txt"}
    assert still_open(runs) == {".", "photos", "photos/1.jpg"}
    assert make_private(home, runs) == []


def test_a_folder_with_private_files_of_others_keeps_its_mode_too_and_is_named(home: Path, runs: Path) -> None:
    (home / "mine.txt").touch(mode=0o600)
    make_private(home, runs)
    assert still_open(home) == {"."}
    assert foreign_folders(home, runs) == [home]


def test_nothing_is_made_where_there_is_nothing(tmp_path: Path) -> None:
    assert make_private(tmp_path / "home", tmp_path / "runs") == []
    assert list(tmp_path.iterdir()) == []
