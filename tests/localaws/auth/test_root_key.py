"""The root key: random, this user's only, kept across restarts and resets, and what `start` prints."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localaws.auth.root_key import FILE, keep, new
from localaws.control import reset, start, stop
from localaws.errors import NotItsHome
from localaws.record import ServerRecord, read_record
from localaws.settings import Settings
from tests.bit_flips import flipped
from tests.conftest import ROOT
from tests.keys import keys_of

NUMBERS = '{"access_key_id": 1, "secret_access_key": 2, "token": 3}'


def test_a_key_is_made_once_and_is_not_anothers(tmp_path: Path) -> None:
    made = keep(tmp_path)
    assert keep(tmp_path) == made and keep(tmp_path, new()) == made
    assert made.access_key_id.startswith("AKIA") and len(made.access_key_id) == 20
    assert len(made.secret_access_key) == 40 and len(made.token) >= 40
    assert len({new().secret_access_key for _ in range(100)}) == 100
    assert made.secret_access_key not in repr(made) and made.token not in repr(made)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"access_key_id": "AKIA"}', "[" * 200_000, NUMBERS])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    (tmp_path / FILE).write_text(damage)
    assert keep(tmp_path) == keep(tmp_path)


def test_every_flip_of_a_bit_is_noticed_and_said_and_another_key_takes_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, flips = keep(tmp_path), 0
    for where in flipped(tmp_path / FILE):
        found = keep(tmp_path)
        said, flips = capsys.readouterr().err, flips + 1
        assert not {made.access_key_id, made.secret_access_key, made.token} & {*vars(found).values()}, where
        assert f"{tmp_path / FILE} is damaged (" in said and "kennel up" in said, where
        assert made.secret_access_key not in said
    assert flips > 100


def test_the_key_of_an_older_release_has_no_checksum_and_is_kept(tmp_path: Path) -> None:
    made = new()
    (tmp_path / FILE).write_text(json.dumps(vars(made)))
    assert keep(tmp_path) == made


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_by_name_and_a_damaged_key_is_made_anew(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / FILE
    make(path)
    with pytest.raises(NotItsHome, match=f"{path} is not a file; remove or move it"):
        keep(tmp_path)
    shutil.move(path, tmp_path / "moved")
    path.write_text("[" * 200_000)
    assert keep(tmp_path) == keep(tmp_path)


def test_only_this_user_can_read_it_even_if_it_was_laid_open(tmp_path: Path) -> None:
    keep(tmp_path)
    assert mode_of(tmp_path / FILE) == 0o600
    (tmp_path / FILE).chmod(0o644)
    keep(tmp_path)
    assert mode_of(tmp_path / FILE) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [FILE], "no part of a file is left"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop(tmp_path / "home")


def test_a_restart_and_a_reset_keep_the_key_and_start_and_env_print_it(home: Path) -> None:
    first = start(Settings(home, port=0))
    keys = keys_of(home)
    assert mode_of(home / "server.json") == mode_of(home / FILE) == 0o600
    assert keys == keep(home) and first.secret_access_key not in repr(first)
    reset(home)
    assert keys_of(home) == keys
    stop(home)
    again = start(Settings(home, port=0))
    assert keys_of(home) == keys and again.started > first.started
    printed = localaws("env", "--home", str(home))
    assert f"export AWS_ACCESS_KEY_ID={keys.access_key_id}\n" in printed
    assert f"export AWS_SECRET_ACCESS_KEY={keys.secret_access_key}\n" in printed
    assert "export AWS_SESSION_TOKEN=''\n" in printed and keys.token not in printed


def test_a_record_of_0_1_0_names_no_key(tmp_path: Path) -> None:
    fields = {"pid": 1, "created": 0.0, "started": 0.0, "host": "127.0.0.1", "port": 1, "region": "us-east-1"}
    record = {**fields, "account_id": "123456789012", "time_scale": 1.0, "ssh_port": 22}
    (tmp_path / "server.json").write_text(json.dumps(record))
    assert read_record(tmp_path) is None, "it runs no more"
    assert ServerRecord(**record).access_key_id == ""  # type: ignore[arg-type]


def localaws(*arguments: str) -> str:
    command = [sys.executable, "-m", "localaws", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777
