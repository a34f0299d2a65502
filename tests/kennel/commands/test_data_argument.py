"""`--data` that cannot be used is refused at once: no server is started, and no folder is left."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from kennel.commands.data_argument import check_data_argument
from kennel.commands.retrain import run_class_folder
from tasks.run.errors import SourceRefused
from tasks.run.record_store import save_record
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings
from tests.kennel.shell import Terminal, children_cpu_seconds
from tests.tasks.data.datasets import tar_of

LIMIT_SECONDS = 5.0
"""Of processor time: it takes 0.7 s. The limit is for a slow machine, and below the start of a server there."""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", tmp_path / "runs")


def refused(terminal: Terminal, data: str, why: str, command: str = "run") -> None:
    before = children_cpu_seconds()
    done = terminal.kennel(command, "--data", data)
    assert done.code == 3, done.err
    assert why in done.err and "s3c" not in done.err + done.out
    assert not terminal.home.exists() and not terminal.runs.exists()
    assert children_cpu_seconds() - before < LIMIT_SECONDS


@pytest.mark.parametrize("command", ["run", "train-ec2"])
def test_a_path_that_is_not_there(terminal: Terminal, command: str) -> None:
    refused(terminal, "/nowhere/photos.zip", "there is no such file or folder", command)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_name_that_is_too_long_for_any_file(terminal: Terminal, command: str) -> None:
    refused(terminal, f"/tmp/{'a' * 300}", "there is no such file or folder", command)


def test_a_pipe_is_not_said_to_be_absent(terminal: Terminal, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    refused(terminal, str(tmp_path / "pipe.zip"), "it is neither a file nor a folder")


@pytest.mark.parametrize("command", ["run", "train-ec2", "plan"])
@pytest.mark.parametrize(
    ("weights", "code", "why"),
    [
        ("/nowhere/mine.safetensors", 2, "there is no such file"),
        (f"/tmp/{'a' * 300}", 2, "there is no such file"),
        ("LOOP", 2, "there is no such file"),
        ("TEXT", 3, "is not a safetensors file"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_before_the_data_is_staged(
    terminal: Terminal, tmp_path: Path, command: str, weights: str, code: int, why: str
) -> None:
    (tmp_path / "LOOP").symlink_to(tmp_path / "LOOP")
    (tmp_path / "TEXT").write_text("not safetensors")
    done = terminal.kennel(command, "--weights", str(tmp_path / weights))
    assert (done.code, why in done.err) == (code, True), done.err
    assert not terminal.home.exists() and not terminal.runs.exists()


def test_a_file_that_is_no_zip(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes.zip").write_text("not a zip")
    refused(terminal, str(tmp_path / "notes.zip"), "it is not a readable zip")


def test_a_zip_without_the_folders(terminal: Terminal, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as made:
        made.writestr("dog.jpg", b"jpeg")
    refused(terminal, str(tmp_path / "flat.zip"), "the photos lie in no folders of classes")


def test_an_empty_folder(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(terminal, str(tmp_path / "empty"), "contains nothing")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://me:s3cret@host/x.zip", "kennel fetches http, https and s3 URLs only, not ftp://"),
        ("https://me:s3cret@/x.zip", "no host"),
        ("https://me:s3c/ret@host/x.zip", "it is not a URL"),
        ("data:s3cret", "kennel fetches http://, https:// and s3:// URLs only"),
        ("jdbc:s3cret", "kennel fetches http://, https:// and s3:// URLs only"),
        ("s3://me:s3cret@bucket/x.zip", "a bucket is named by 3 to 63 lower-case letters"),
        ("file://me:s3cret@host/x.zip", "and file:// ones of this machine"),
        ("http://[::1/x.zip", "it is not a URL"),
        ("http://host:port/x.zip", "it is not a URL"),
    ],
)
def test_a_url_that_cannot_be_fetched(terminal: Terminal, url: str, why: str) -> None:
    refused(terminal, url, why)


@pytest.mark.parametrize("command", ["run", "train-ec2"])
@pytest.mark.parametrize(
    ("line", "why"),
    [("https://me:s3c/ret@host/x.zip\n", "it is not a URL"), ("", "there is no line on standard input")],
)
def test_a_url_may_be_read_from_standard_input(terminal: Terminal, command: str, line: str, why: str) -> None:
    done = terminal.kennel(command, "--data", "-", given=line)
    assert done.code == 3 and why in done.err and "s3c" not in done.err + done.out


@pytest.mark.parametrize("more", [(), ("--ui",), ("--mode", "checked")])
def test_a_load_test_of_an_unknown_run_starts_nothing_and_names_those_that_exist(
    terminal: Terminal, more: tuple[str, ...]
) -> None:
    (terminal.runs / "known").mkdir(parents=True)
    (terminal.runs / "known" / "ledger.jsonl").touch()
    done = terminal.kennel("loadtest", "nope", *more)
    assert done.code == 2
    assert "there is no such run" in done.err and "known: known" in done.err
    assert not terminal.home.exists() and not (terminal.runs / "nope").exists()


def test_a_compressed_archive_is_looked_at_and_not_unpacked(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of({"no/layout.jpg": b"x"})))
    (tmp_path / "photo.jpg.gz").write_bytes(gzip.compress(b"x" * 1000))
    (tmp_path / "a.tar").write_bytes(tar_of({"no/layout.jpg": b"x"}))
    for data in (f"{tmp_path}/a.tar.gz", f"file://{tmp_path}/a.tar.gz", "s3://bucket/dogs/", "s3://bucket/a.zip"):
        check_data_argument(data, settings)
    with pytest.raises(SourceRefused, match="holds neither a tar nor a zip"):
        check_data_argument(f"{tmp_path}/photo.jpg.gz", settings)
    with pytest.raises(SourceRefused, match="data layout"):
        check_data_argument(f"file://localhost{tmp_path}/a.tar", settings)
    assert not settings.home.exists()


def test_two_levels_of_folders_are_refused_before_a_server_unless_one_is_chosen(
    terminal: Terminal, tmp_path: Path
) -> None:
    names = [f"{child}/{tree}/{n}.jpg" for child in ("Ann", "Ben") for tree in ("oak", "elm") for n in range(3)]
    data = tmp_path / "a.tar"
    data.write_bytes(tar_of(dict.fromkeys(names, b"x")))
    refused(terminal, str(data), f"kennel inspect {data} --class-folder last")
    settings = Settings(home=tmp_path / "home")
    check_data_argument(str(data), settings, "last")
    check_data_argument(str(data), settings, "first")


def test_data_for_a_retraining_is_checked_with_the_class_folder_of_its_run(tmp_path: Path) -> None:
    assert run_class_folder(tmp_path) == "auto"
    counts = {"test": {"a": 1, "b": 1}}
    chosen = '{"class_folder": "last"}'
    save_record(tmp_path, DatasetRef("b", "datasets/d", "d", "dogs", ("a", "b"), counts, 10, 0, "x", options=chosen))
    assert run_class_folder(tmp_path) == "last"
