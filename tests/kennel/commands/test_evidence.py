"""`kennel evidence` where nothing runs; with a run it is in `test_whole_way.py`."""

from pathlib import Path

from tests.kennel.shell import Terminal


def test_without_the_embedded_aws_there_is_nothing_to_show(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    (terminal.runs / "dogs").mkdir(parents=True)
    (terminal.runs / "dogs" / "ledger.jsonl").touch()
    ended = terminal.kennel("evidence", "dogs")
    assert (ended.code, ended.out) == (2, "")
    assert "localaws does not run" in ended.err and "next: kennel run --run-id dogs" in ended.err
