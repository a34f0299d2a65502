"""`kennel predict`: what is refused before anybody is asked; `test_whole_way.py` classifies photos."""

from pathlib import Path

import pytest

from tasks.run.errors import DiskFailed, SettingsRefused
from tasks.run.ledger import Ledger
from tests.kennel.shell import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    made = Terminal(tmp_path / "home", tmp_path / "runs")
    Ledger(made.runs / "dogs", account_id="123456789012", endpoint="aws").record("role", "r", "created")
    (tmp_path / "dog.jpg").write_bytes(b"")
    return made


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--csv", "."), "--csv .: it is a folder"),
        (("--csv", "nowhere/found.csv"), "there is no folder nowhere"),
        (("--html", "nowhere/found.html"), "there is no folder nowhere"),
        (("--local",), "there is no "),
    ],
)
def test_what_cannot_be_written_or_answered_is_said_first(
    terminal: Terminal, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    refused = terminal.kennel("predict", "dogs", str(tmp_path / "dog.jpg"), *options)

    assert refused.code == SettingsRefused.exit_code and not (tmp_path / "nowhere").exists()
    said = " ".join(refused.err.replace("why:", ":").split())
    assert why.split(": ")[-1] in said


@pytest.mark.parametrize("option", ["--csv", "--html"])
def test_a_folder_that_takes_no_files_is_said_before_a_photo_is_classified(
    terminal: Terminal, tmp_path: Path, option: str
) -> None:
    refused = terminal.kennel("predict", "dogs", str(tmp_path / "dog.jpg"), option, "/proc/found")

    assert refused.code == DiskFailed.exit_code, refused.err
    said = " ".join(refused.err.split())
    assert "/proc/found cannot be written" in said and "/proc takes no new files" in said
    assert "did not foresee" not in said and "answered by" not in said
