"""`kennel notebook` and its flow: servers, records, states, the secret address, and refusals."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kennel.interface import differences
from tests.kennel.shell import Terminal

RUN = "pictures"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("kennel")
    terminal = Terminal(folder / "home", folder / "runs")
    yield terminal
    terminal.take_down()


def test_stopping_one_where_nothing_runs_says_how_to_get_one_and_starts_no_server(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    for arguments in (("stop", RUN), ("start", RUN), ("list",)):
        done = terminal.kennel("notebook", *arguments, "--json")
        assert done.code == 2
        assert done.answer["error"]["next"] == "kennel notebook create <run>"
    assert not (tmp_path / "home" / "processes").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create",), "requires an argument"),
        (("create", RUN, "--idle-minutes", "1"), "Must be >= 10"),
        (("delete", RUN), "delete"),
        (("stop", RUN, "--url"), "--url"),
    ],
)
def test_wrong_usage_ends_with_2(terminal: Terminal, arguments: tuple[str, ...], words: str) -> None:
    done = terminal.kennel("notebook", *arguments)
    assert done.code == 2
    assert words in done.err + done.out
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_one_is_created_adopted_stopped_started_listed_and_taken_down(terminal: Terminal) -> None:
    made = terminal.kennel("notebook", "create", RUN, "--json")
    assert made.code == 0, made.err
    assert differences("notebook-create", made.answer) == []
    (state,) = made.answer["notebooks"]
    assert (state["status"], state["instance_type"], state["run_id"]) == ("InService", "ml.t3.medium", RUN)
    assert "url" not in made.answer
    assert "it stops after 60 idle minutes" in made.err
    assert "the embedded AWS keeps a notebook instance's state only" in made.err
    record = json.loads((terminal.runs / RUN / "notebook.json").read_text())
    assert (record["idle_minutes"], record["state"]) == (60, state)

    stopped = terminal.kennel("notebook", "stop", RUN, "--json")
    assert [item["status"] for item in stopped.answer["notebooks"]] == ["Stopped"]
    assert json.loads((terminal.runs / RUN / "notebook.json").read_text())["state"]["status"] == "Stopped"

    listed = terminal.kennel("notebook", "list", "--json")
    assert differences("notebook-list", listed.answer) == []
    assert (listed.code, listed.answer["notebooks"]) == (0, stopped.answer["notebooks"])

    refused = terminal.kennel("notebook", "start", RUN, "--url", "--json")
    assert refused.code == 5
    assert "CreatePresignedNotebookInstanceUrl" in refused.answer["error"]["what"]

    down = terminal.kennel("down", "--yes", "--json")
    kinds = [item.split()[0] for item in down.answer["removed"]]
    assert kinds == ["notebook-instance", "notebook-lifecycle", "role"]
    assert terminal.processes() == []
