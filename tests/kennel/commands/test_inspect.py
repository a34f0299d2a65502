"""`kennel inspect` in a shell: without any server, its exit codes, and what it prints."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.kennel.interface import differences
from tests.kennel.photos import make_photos
from tests.kennel.shell import Terminal


@pytest.fixture
def alone(tmp_path: Path) -> Terminal:
    """A shell whose home has no server."""
    return Terminal(tmp_path / "home", tmp_path / "runs", {"COLUMNS": "120"})


def test_photos_are_looked_at_without_a_server_and_a_page_is_written(alone: Terminal, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "colours")
    shutil.copy(photos / "train/red/0.jpg", photos / "train/blue/again.jpg")
    done = alone.kennel("inspect", str(photos), "--json")
    assert done.code == 0, done.err
    assert differences("inspect", done.answer) == []
    assert done.answer["is_accepted"] and done.answer["embedded"] == 49
    assert [each["name"] for each in done.answer["suspects"]] == ["train/blue/again.jpg"]
    assert Path(done.answer["page"]).read_text().startswith("<!DOCTYPE html>")
    assert {each.name for each in alone.home.iterdir()} >= {"inspections"}
    assert not {"localaws", "prefect"} & {each.name for each in alone.home.iterdir()} and not alone.runs.exists()


def test_photos_that_would_be_refused_end_with_3_and_say_why(alone: Terminal, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "colours")
    shutil.rmtree(photos / "test" / "red")
    done = alone.kennel("inspect", str(photos), "--sample", "0")
    assert done.code == 3
    assert "REFUSED: no usable photo of the class red in test" in done.out and "inspection.html" in done.out
    missing = alone.kennel("inspect", str(tmp_path / "nowhere"))
    assert missing.code == 3 and "there is no such file or folder" in missing.err


def test_the_commands_of_a_refusal_of_two_levels_work_as_they_are_shown(alone: Terminal, tmp_path: Path) -> None:
    make_photos(tmp_path / "colours")
    for child, number in (("Ann", 0), ("Ben", 1)):
        for colour in ("blue", "green", "red"):
            shutil.copytree(tmp_path / "colours/train" / colour, tmp_path / "my class" / child / colour)
            for photo in (tmp_path / "my class" / child / colour).iterdir():
                if int(photo.stem) % 2 == number:
                    photo.unlink()
    refused = alone.kennel("inspect", str(tmp_path / "my class"), "--sample", "0")
    assert refused.code == 3 and "Ann and Ben each have the folders blue, green and red" in refused.err
    shown = re.findall(r"kennel (inspect '[^']+' --class-folder \w+)", refused.err)
    told = [shlex.split(command) for command in shown]
    assert {words[-1]: alone.kennel(*words, "--sample", "0", "--json").answer["classes"] for words in told} == {
        "last": ["blue", "green", "red"],
        "first": ["Ann", "Ben"],
    }
