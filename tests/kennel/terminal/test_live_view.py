"""The live view on a terminal of 80 columns, which is restored afterwards."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kennel.pseudo_terminal import HIDDEN, SHOWN, OnATerminal
from tests.kennel.shell import Terminal

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    yield terminal
    terminal.take_down()


def cursor_is_shown(text: str) -> bool:
    return text.rfind(SHOWN) > text.rfind(HIDDEN)


def test_up_shows_its_stage_with_an_estimate_and_leaves_the_exports_alone(terminal: Terminal) -> None:
    with OnATerminal(terminal, "up") as shown:
        shown.read_until("start the servers")
        assert shown.end() == 0
    assert HIDDEN in shown.text and cursor_is_shown(shown.text)
    assert "of about 6 s" in shown.plain
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in shown.plain
    unbroken = ("export ", str(terminal.home.parent))  # a path is never broken, and this one may be long
    assert [line for line in shown.plain.splitlines() if len(line) > 80 and not any(u in line for u in unbroken)] == []
    assert "both servers answer" in shown.plain
    quiet, verbose = terminal.kennel("up", "--quiet"), terminal.kennel("up", "-v")
    assert quiet.err == "" and "stage 1 of 1, start the servers: done" in verbose.err
    assert quiet.out == verbose.out != ""


def test_a_run_that_is_interrupted_leaves_the_cursor_and_says_how_to_go_on(terminal: Terminal, photos: Path) -> None:
    with OnATerminal(terminal, "run", "--data", str(photos)) as shown:
        shown.read_until("2 of 5")
        shown.read_until("of about 6 s")
        shown.type(b"\x03")
        assert shown.end() == 130
    assert HIDDEN in shown.text and cursor_is_shown(shown.text)
    assert "kennel: interrupted." in shown.plain and "kennel down --yes" in shown.plain
    assert "Traceback" not in shown.plain


@pytest.mark.parametrize(("setting", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_up_that_is_interrupted_leaves_the_cursor_and_had_colours_for_those_who_want_them(
    tmp_path: Path, setting: dict[str, str], is_coloured: bool
) -> None:
    """NO_COLOR leaves bold and the cursor's movements, which are no colours."""
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", setting)
    with OnATerminal(terminal, "up") as shown:
        shown.read_until("of about 6 s")
        shown.type(b"\x03")
        assert shown.end() == 130
    assert cursor_is_shown(shown.text)
    assert "kennel: interrupted" in shown.plain and "Traceback" not in shown.plain
    assert bool(re.search(r"\x1b\[(\d+;)*3[0-8]", shown.text)) is is_coloured, repr(shown.text)
    assert terminal.kennel("down", "--yes").code == 0 and terminal.processes() == []


def test_an_error_leaves_the_cursor_and_the_last_picture(terminal: Terminal) -> None:
    with OnATerminal(terminal, "run", "--data", "/nowhere.zip") as shown:
        assert shown.end() == 3
    assert cursor_is_shown(shown.text)
    assert "1 of 5" in shown.plain
    assert "there is no such file or folder" in shown.plain


def test_the_first_line_comes_within_a_second_and_before_anything_heavy(terminal: Terminal) -> None:
    """Measured in CPU, which a busy machine does not stretch: what is imported before the first line."""
    commands = ("run", "train_ec2", "loadtest")
    modules = ", ".join(["sys", "kennel.cli", *(f"kennel.commands.{name}" for name in commands)])
    program = f"import {modules}; print(sorted({{name.partition('.')[0] for name in sys.modules}}))"
    imported = set(re.findall(r"'(\w+)'", terminal.program("-c", program).out))
    assert "kennel" in imported
    heavy = {"prefect", "boto3", "sagemaker", "torch", "flows", "psutil", "numpy", "fastapi"}
    assert not heavy & imported, "the flags need pydantic, and the errors botocore's exceptions, and nothing else"
