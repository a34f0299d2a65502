"""Every file that kennel reads in a home and a run is damaged at once: `status` and `down` say so and do their work."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.run.errors import TeardownIncomplete
from tasks.run.ledger import Ledger
from tests.kennel.shell import Terminal

HOME = ("processes/localaws.json", "processes/prefect.json", "processes/localaws.url", "localaws/server.json")
MORE = ("localaws/root_key.json", "prefect/password", "demo.json")
RUN = ("ledger.jsonl", "ledger.head", "stage_data.json", "pipeline.json", "loadtest.json")
DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_text('{"pid": 1'),
    "no text": lambda path: path.write_bytes(bytes(range(256))),
    "nested too deeply": lambda path: path.write_text("[" * 200_000),
    "a number": lambda path: path.write_text("7"),
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


def damage(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    DAMAGE[kind](path)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", DAMAGE)
def test_status_and_down_say_what_is_damaged_and_end_well(tmp_path: Path, kind: str) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    for run_id in ("one", "two"):
        Ledger(terminal.runs / run_id, account_id="123456789012", endpoint="aws").record("role", "r", "created")
        for name in RUN:
            damage(terminal.runs / run_id / name, kind)
    for name in (*HOME, *MORE):
        damage(terminal.home / name, kind)
    shown, down = terminal.kennel("status", "--json"), terminal.kennel("down", "--yes", "--json")
    assert (shown.code, down.code) == (0, TeardownIncomplete.exit_code), shown.err + down.err
    for done in (shown, down):
        assert "Traceback" not in done.err and done.answer
        flat = "".join(done.err.split())
        for name in ("processes/localaws.json", "processes/prefect.json", "localaws/server.json"):
            assert f"{terminal.home / name}isnotused,becauseitisdamaged" in flat, done.err
    assert all(run["fault"] for run in shown.answer["runs"]) and len(shown.answer["runs"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_down_ends_servers_whose_records_are_all_damaged(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    try:
        assert terminal.kennel("up").code == 0 and len(terminal.processes()) >= 2
        for name in (*HOME, *MORE):
            damage(terminal.home / name, "nested too deeply")
        down = terminal.kennel("down", "--yes")
        assert down.code == 0 and "Traceback" not in down.err, down.err
        assert terminal.processes() == []
        again = terminal.kennel("up")
        assert again.code == 0 and "is not used" not in again.err, again.err
    finally:
        shutil.rmtree(terminal.home / "processes", ignore_errors=True)
        terminal.take_down()


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_status_says_of_a_server_whose_record_was_removed_that_it_runs(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    try:
        assert terminal.kennel("up").code == 0
        url = terminal.kennel("status", "--json").answer["services"]["localaws"]
        (terminal.home / "localaws" / "server.json").unlink()
        shown = terminal.kennel("status", "--json")
        assert (shown.code, shown.answer["services"]["localaws"]) == (0, url)
        said = " ".join(shown.err.split())
        assert (
            "server.json is missing" in said and f"it runs at {url} (process " in said and "kennel down --yes" in said
        )
    finally:
        down = terminal.kennel("down", "--yes")
    assert down.code == 0 and "Traceback" not in down.err
    assert terminal.processes() == []


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_two_teardowns_at_once_and_one_of_a_server_that_just_got_sigterm_end_well(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    for is_ended_before in (False, True):
        assert terminal.kennel("up").code == 0
        if is_ended_before:
            os.kill(json.loads((terminal.home / "localaws" / "server.json").read_text())["pid"], signal.SIGTERM)
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: terminal.kennel("down", "--yes", "--json"), range(2)))
        for down in both:
            assert "Traceback" not in down.err and down.code in (0, 5), down.err
        assert any(down.code == 0 for down in both)
        assert terminal.processes() == []
