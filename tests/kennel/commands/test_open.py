"""`kennel open`: what it says where nothing runs; `tests/kennel/servers/test_localaws.py` opens a page."""

from pathlib import Path

from tests.kennel.shell import Terminal


def test_without_the_embedded_aws_there_is_no_console(tmp_path: Path) -> None:
    ended = Terminal(tmp_path / "home", tmp_path / "runs").kennel("open", "--console")
    assert (ended.code, ended.out) == (2, "")
    assert "the embedded AWS of this home does not run" in ended.err and "next: kennel up" in ended.err


def test_a_page_has_to_be_named(tmp_path: Path) -> None:
    ended = Terminal(tmp_path / "home", tmp_path / "runs").kennel("open")
    assert ended.code == 2 and "next: kennel open --console" in ended.err
