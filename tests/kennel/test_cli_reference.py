"""docs/cli.md is generated from the command's own definitions."""

from kennel.cli_reference import WIDTH, reference
from tests.kennel.shell import ROOT


def test_the_reference_of_the_command_is_current() -> None:
    kept = (ROOT / "docs" / "cli.md").read_text()
    assert kept == reference(), "the command has changed: make docs writes docs/cli.md anew"


def test_its_lines_fit_a_page_and_name_every_command() -> None:
    text = reference()
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    for command in ("run", "demo", "train-ec2", "loadtest", "status", "logs", "up", "down", "notebook create"):
        assert f"kennel {command}\n" in text
