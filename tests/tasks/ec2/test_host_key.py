"""Keys of instances: created once, in files that only their owner can read, in OpenSSH's format."""

import stat
import subprocess
from pathlib import Path

import pytest

from tasks.ec2.host_key import host_key, known_host_key, login_key, login_path, remove_keys
from tasks.run.errors import LedgerRefused


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "r"
    made = [login_key(run), host_key(run, 1), host_key(run, 2)]
    assert [login_key(run), host_key(run, 1), host_key(run, 2)] == made
    assert len({key.public for key in made}) == 3
    assert [mode(key.path) for key in made] == [0o600] * 3
    assert mode(run / "ec2") == 0o700


def test_openssh_finds_the_same_public_half(tmp_path: Path) -> None:
    key = login_key(tmp_path)
    found = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(key.path)], check=True, capture_output=True, text=True, timeout=20
    )
    assert found.stdout.split()[:2] == key.public.split()
    assert key.private().startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = login_key(tmp_path).path
    path.chmod(0o644)
    with pytest.raises(LedgerRefused, match="has mode -rw-r--r--") as caught:
        login_key(tmp_path)
    assert f"chmod 600 {path}" in caught.value.next_command


def test_a_link_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    path = login_key(tmp_path / "elsewhere").path
    (tmp_path / "run" / "ec2").mkdir(parents=True)
    login_path(tmp_path / "run").symlink_to(path)
    with pytest.raises(LedgerRefused, match="a private key has to be a regular file"):
        login_key(tmp_path / "run")


def test_what_is_no_ed25519_key_is_refused_and_not_written_over(tmp_path: Path) -> None:
    path = host_key(tmp_path, 1).path
    path.write_text("not a key\n")
    with pytest.raises(LedgerRefused, match="is not an ed25519 key that kennel created"):
        host_key(tmp_path, 1)
    assert path.read_text() == "not a key\n"


def test_asking_for_a_host_key_that_is_not_here_makes_none(tmp_path: Path) -> None:
    assert known_host_key(tmp_path, 1) == ""
    assert not (tmp_path / "ec2").exists()
    made = host_key(tmp_path, 1)
    assert known_host_key(tmp_path, 1) == made.public


def test_removing_keys_leaves_records_and_may_be_repeated(tmp_path: Path) -> None:
    login_key(tmp_path)
    host_key(tmp_path, 12)
    (tmp_path / "ec2" / "instance-1.json").write_text("{}")
    remove_keys(tmp_path)
    remove_keys(tmp_path)
    assert [path.name for path in (tmp_path / "ec2").iterdir()] == ["instance-1.json"]
