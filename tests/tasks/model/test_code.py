"""Tests of the packaged code: the same sources give the same bytes."""

import os
import time
import zipfile
from pathlib import Path

import pytest

from tasks.model.code import build_lambda_zip, git_commit, stage_training_code, tree_digest
from tasks.run.errors import SettingsRefused


def make_function(folder: Path, *, note: str = "") -> Path:
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "handler.py").write_text(f"# {note}\ndef handler(event, context): ...\n")
    (folder / "a.py").write_text("A = 1\n")
    (folder / "__pycache__" / "handler.pyc").write_bytes(b"x")
    return folder


def test_the_same_sources_give_the_same_zip_whenever_and_wherever_they_lie(tmp_path: Path) -> None:
    first = build_lambda_zip(tmp_path / "1.zip", make_function(tmp_path / "one"))
    other = make_function(tmp_path / "two")
    later = time.time() + 5000
    for file in other.glob("*.py"):
        file.chmod(0o600)

        os.utime(file, (later, later))
    second = build_lambda_zip(tmp_path / "2.zip", other)
    assert first == second
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_the_zip_holds_the_sources_and_no_caches(tmp_path: Path) -> None:
    build_lambda_zip(tmp_path / "f.zip", make_function(tmp_path / "f"))
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        assert archive.namelist() == ["a.py", "handler.py"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


def test_another_byte_in_a_source_gives_another_zip(tmp_path: Path) -> None:
    one = build_lambda_zip(tmp_path / "1.zip", make_function(tmp_path / "one"))
    two = build_lambda_zip(tmp_path / "2.zip", make_function(tmp_path / "two", note="changed"))
    assert one != two


def test_only_the_training_folder_is_shipped_and_its_digest_follows_its_content(tmp_path: Path) -> None:
    source = tmp_path / "training"
    (source / "__pycache__").mkdir(parents=True)
    (source / "train.py").write_text("print()\n")
    first = stage_training_code(tmp_path / "staged", source)
    assert [p.relative_to(tmp_path / "staged").as_posix() for p in (tmp_path / "staged").rglob("*") if p.is_file()] == [
        "training/train.py"
    ]
    assert stage_training_code(tmp_path / "staged", source) == first == tree_digest(tmp_path / "staged")
    (source / "train.py").write_text("print(1)\n")
    assert stage_training_code(tmp_path / "staged", source) != first


def test_a_folder_without_the_entry_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"has no handler\.py"):
        build_lambda_zip(tmp_path / "f.zip", tmp_path)
    with pytest.raises(SettingsRefused, match=r"has no train\.py"):
        stage_training_code(tmp_path / "staged", tmp_path)


def test_the_commit_is_none_inside_another_projects_checkout_and_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KENNEL_GIT_COMMIT", raising=False)
    packages = tmp_path / "project" / "site-packages"
    packages.mkdir(parents=True)
    (tmp_path / "project" / ".git").mkdir()
    assert git_commit(packages) is None
    monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path / "project") is None
