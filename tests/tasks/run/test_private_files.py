"""The umask of a process that works for kennel, and how an older release's files are closed to other users."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tasks.run.private_files import private_files, shared_files, tighten


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    """The user's umask closes nothing: only what kennel does itself is seen."""
    before = os.umask(0)
    yield
    assert os.umask(before) == 0, "the user's umask did not come back"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_and_folders_inside_are_the_users_alone(tmp_path: Path) -> None:
    with private_files(), private_files():
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "c").touch()
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/c")] == [0o700, 0o700, 0o600]


def test_what_belongs_to_the_environment_has_the_users_own_umask(tmp_path: Path) -> None:
    with private_files():
        with shared_files():
            (tmp_path / "shared").touch()
        (tmp_path / "own").touch()
    assert [mode(tmp_path / name) for name in ("shared", "own")] == [0o666, 0o600]


def test_blocks_that_overlap_in_threads_all_stay_private(tmp_path: Path) -> None:
    meet = Barrier(4)

    def work(number: int) -> None:
        with private_files():
            meet.wait(30)
        with private_files():
            (tmp_path / str(number)).touch()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_an_open_folder_is_closed_with_all_that_is_in_it_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home" / "logs").mkdir(parents=True)
    (tmp_path / "home" / "logs" / "log").touch()
    (tmp_path / "home" / "program").touch(mode=0o755)
    (tmp_path / "others").touch()
    (tmp_path / "home" / "link").symlink_to(tmp_path / "others")
    assert tighten([tmp_path / "home", tmp_path / "none"]) == [tmp_path / "home"]
    modes = {str(path.relative_to(tmp_path)): mode(path) for path in tmp_path.rglob("*") if not path.is_symlink()}
    closed = {"home": 0o700, "home/logs": 0o700, "home/logs/log": 0o600, "home/program": 0o700}
    assert modes == closed | {"others": 0o666}
    assert tighten([tmp_path / "home"]) == [], "said once"
