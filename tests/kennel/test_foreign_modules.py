"""Files of the user's with the names of our packages or of libraries: no command and no server imports one of them."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kennel.shell import Terminal

PACKAGES = ("tasks", "flows", "training", "loadtest", "lambda")
LIBRARIES = ("boto3", "torch", "json", "random", "prefect", "moto", "numpy", "locust", "typing")
FOREIGN = "raise SystemExit('the user’s {} was imported')\n"


def write_modules(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(FOREIGN.format(name))
    return folder


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    folder = write_modules(tmp_path / "theirs", *PACKAGES, *LIBRARIES, "localaws", "kennel")
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {"PYTHONPATH": str(folder)})
    yield terminal
    terminal.take_down(more={"PYTHONPATH": ""})


def run(program: list[str], terminal: Terminal, folder: Path) -> str:
    done = subprocess.run(
        program, cwd=folder, env=terminal.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "imported" not in done.stdout + done.stderr
    return done.stdout


def test_the_command_and_its_servers_import_none_of_them(terminal: Terminal, tmp_path: Path) -> None:
    kennel, theirs = str(Path(sys.executable).with_name("kennel")), tmp_path / "theirs"
    run([kennel, "status"], terminal, theirs)
    lines = run([kennel, "up"], terminal, theirs).splitlines()
    url = next(line.partition("=")[2] for line in lines if line.startswith("export AWS_ENDPOINT_URL="))
    assert urllib.request.urlopen(f"{url}/_localaws/health", timeout=60).status == 200
    run([kennel, "down", "--yes"], terminal, theirs)


@pytest.mark.parametrize("program", ["kennel", "localaws"])
def test_a_module_in_the_current_folder_is_not_imported(program: str, tmp_path: Path) -> None:
    theirs = write_modules(tmp_path / "here", *PACKAGES, "boto3", "json", "random", "psutil", "argparse")
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {"PYTHONPATH": "."})
    arguments = ["status"] if program == "kennel" else ["--help"]
    assert run([sys.executable, "-m", program, *arguments], terminal, theirs)


@pytest.mark.parametrize("program", ["kennel", "localaws"])
@pytest.mark.parametrize(
    ("name", "value"), [("PYTHONINSPECT", "1"), ("PYTHONEXECUTABLE", "/bin/false"), ("PYTHONWARNINGS", "error")]
)
def test_a_variable_of_pythons_that_changes_a_program_is_dropped(
    program: str, name: str, value: str, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {name: value})
    arguments = ["status", "--json"] if program == "kennel" else ["--help"]
    done = terminal.program("-m", program, *arguments)
    assert (done.code, "Traceback" in done.err, bool(done.out)) == (0, False, True), done.err


def test_the_servers_start_where_warnings_are_errors(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"})
    kennel = str(Path(sys.executable).with_name("kennel"))
    try:
        assert "AWS_ENDPOINT_URL" in run([kennel, "up"], terminal, tmp_path)
    finally:
        run([kennel, "down", "--yes"], terminal, tmp_path)


def test_the_script_ends_although_python_was_told_to_stay(tmp_path: Path) -> None:
    kennel = str(Path(sys.executable).with_name("kennel"))
    assert run([kennel, "status"], Terminal(tmp_path, tmp_path / "runs", {"PYTHONINSPECT": "1"}), tmp_path)
