"""Nothing that kennel writes in a home or a run follows a link, or waits for a FIFO, in a file's place."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kennel.servers import prefect, processes
from kennel.terminal.run_log import RunLog
from localaws.errors import NotItsHome
from localaws.folders import open_own as open_in_localaws
from localaws.folders import remove_folder
from tasks.model.code import stage_training_code
from tasks.run.errors import DiskFailed
from tasks.run.ledger import Ledger
from tasks.run.ledger_file import HEAD_NAME
from tasks.run.own_files import remove_tree, require_replaceable
from tasks.run.record_store import write_atomically
from tasks.run.run_lock import run_lock
from tests.conftest import ROOT

SECRET = "somebody else's"


def lock(folder: Path) -> None:
    with run_lock(folder):
        pass


def record(folder: Path) -> None:
    Ledger(folder, account_id="123456789012", endpoint="aws").record("role", "r", "created")


def start(folder: Path) -> None:
    processes.spawn(folder, "one", ["/bin/true"], environment={}, url="")


def log(folder: Path) -> None:
    written = RunLog()
    written.set_run(folder)
    written.add("a line")


def code(folder: Path) -> None:
    stage_training_code(folder / "code")


REFUSED: dict[str, Callable[[Path], object]] = {
    "lock": lock,
    "ledger.jsonl": record,
    "logs/one.log": start,
    "processes/one.lock": lambda folder: processes.starting(folder, "one").__enter__(),
    "prefect/password": prefect._password,
}
REPLACED: dict[str, Callable[[Path], object]] = {
    "record.json": lambda folder: write_atomically(folder / "record.json", b"new"),
    HEAD_NAME: record,
    f"{HEAD_NAME}.part": record,
    "kennel.log": log,
}


def put(path: Path, kind: str, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(SECRET)
    if kind == "link":
        path.symlink_to(target)
    else:
        os.mkfifo(path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["link", "FIFO"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_link_or_a_fifo_in_a_files_place_is_refused_by_its_path(tmp_path: Path, name: str, kind: str) -> None:
    folder, target = tmp_path / "ours", tmp_path / "target"
    put(folder / name, kind, target)
    with pytest.raises(DiskFailed if name != "ledger.jsonl" else Exception, match=str(folder / name)):
        REFUSED[name](folder)
    assert target.read_text() == SECRET


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", REPLACED)
def test_a_link_in_a_files_place_is_replaced_or_left(tmp_path: Path, name: str) -> None:
    folder, target = tmp_path / "ours", tmp_path / "target"
    put(folder / name, "link", target)
    REPLACED[name](folder)
    assert target.read_text() == SECRET


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["kennel.log", f"{HEAD_NAME}.part", HEAD_NAME])
def test_a_fifo_in_the_place_of_a_log_or_a_head_is_not_waited_for(tmp_path: Path, name: str) -> None:
    put(tmp_path / "ours" / name, "FIFO", tmp_path / "target")
    REPLACED[name](tmp_path / "ours")


def test_a_folder_of_a_run_that_is_a_link_is_made_anew_and_its_target_left(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "secret.py").write_text(SECRET)
    (tmp_path / "ours" / "code").symlink_to(foreign)
    code(tmp_path / "ours")
    assert [path.name for path in foreign.iterdir()] == ["secret.py"]
    assert [path.name for path in (tmp_path / "ours" / "code").iterdir()] == ["training"]


@pytest.mark.parametrize("clear", [remove_tree, remove_folder])
def test_of_a_link_only_the_link_is_removed(tmp_path: Path, clear: Callable[[Path], None]) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "kept").touch()
    (tmp_path / "link").symlink_to(tmp_path / "foreign")
    clear(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "foreign" / "kept").exists()


def test_the_home_and_the_runs_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    for write in (lock, record, start, log, code):
        write(tmp_path / "runs")
    assert (tmp_path / "disk" / "kennel.log").is_file()


@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_localaws_opens_no_link_and_no_fifo_in_its_home(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "lock", kind, tmp_path / "target")
    with pytest.raises(NotItsHome, match=f"{tmp_path}/lock"):
        open_in_localaws(tmp_path / "lock")
    assert (tmp_path / "target").read_text() == SECRET


BY_THEMSELVES = {"tasks/ssh/receive.py", "tasks/run/own_files.py", "tasks/data/worker.py", "tasks/data/archive.py"}
"""They run elsewhere, are that one way, or write into a folder of a name that was just made."""


def test_files_of_ours_are_opened_for_writing_in_one_way() -> None:
    found = []
    for path in (*sorted((ROOT / "tasks").rglob("*.py")), *sorted((ROOT / "kennel").rglob("*.py"))):
        if str(path.relative_to(ROOT)) in BY_THEMSELVES:
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found += [f"{path}:{call.lineno}" for call in calls if _writes(call)]
    assert not found


def _writes(call: ast.Call) -> bool:
    """Tell whether a call opens a file for writing by `os.open` or `Path.open`."""
    text = ast.unparse(call)
    if text.startswith("os.open("):
        return any(flag in text for flag in ("O_CREAT", "O_TRUNC", "O_APPEND"))
    modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    is_open = isinstance(call.func, ast.Attribute) and call.func.attr == "open" and not text.startswith("tarfile.")
    return is_open and any(isinstance(mode, str) and mode[:1] in {"w", "a", "x"} and len(mode) < 4 for mode in modes)


def test_a_folder_that_takes_no_files_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed) as refused:
        write_atomically(Path("/proc/f.csv"), b"x")
    assert (refused.value.what, refused.value.why) == ("/proc/f.csv cannot be written", "/proc takes no new files")
    with pytest.raises(FileNotFoundError):
        require_replaceable(tmp_path / "nowhere" / "f.csv")
    require_replaceable(tmp_path / "f.csv")
    assert list(tmp_path.iterdir()) == []
