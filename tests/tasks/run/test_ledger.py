"""Tests of the ledger: rows are written before the call and readable after a crash; foreign ledgers are refused."""

import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from kennel.commands.status import describe_run
from tasks.run.errors import LedgerRefused, OwnershipRefused, RunBusy, StageFailed
from tasks.run.ledger import Ledger
from tasks.run.ledger_contents import LedgerOfAnotherRun, inspect_ledger, read_ledger, run_folders, unread_ledgers
from tasks.run.ledger_file import FILE_NAME, append
from tasks.run.ledger_rows import KINDS
from tasks.run.run_lock import run_lock
from tasks.teardown.plan import ORDER

ACCOUNT = "111122223333"
HERE = "http://127.0.0.1:4577"


def open_ledger(run_dir: Path, account: str = ACCOUNT, endpoint: str = HERE) -> Ledger:
    return Ledger(run_dir, account_id=account, endpoint=endpoint)


def states(run_dir: Path) -> list[tuple[str, str, str | None]]:
    return [(row.kind, row.state, row.identifier) for row in read_ledger(run_dir)[1]]


def test_the_row_is_on_disk_before_the_call_and_completed_after_it(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    with ledger.create("role", "r", None) as row:
        assert states(tmp_path) == [("role", "intended", None)]
        row.identifier = "arn"
    assert states(tmp_path) == [("role", "created", "arn")]


def test_a_call_that_failed_leaves_an_uncertain_row_with_the_error(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    with pytest.raises(TimeoutError), ledger.create("role", "r", None):
        raise TimeoutError("no answer")
    assert [(row.state, row.error) for row in ledger.rows()] == [("uncertain", "TimeoutError: no answer")]


EXISTS = ClientError({"Error": {"Code": "EntityAlreadyExists", "Message": "it exists"}}, "CreateRole")
NO_ANSWER = ConnectionClosedError(endpoint_url=HERE)


def fail_with(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [EXISTS, NO_ANSWER])
def test_a_call_that_failed_after_it_was_carried_out_is_a_creation(tmp_path: Path, error: Exception) -> None:
    ledger = open_ledger(tmp_path)
    with ledger.create("role", "r", lambda: "arn") as row:
        fail_with(error)
    assert row.identifier == "arn"
    assert states(tmp_path) == [("role", "created", "arn")]


def test_a_call_that_failed_and_left_nothing_is_uncertain_and_raises_its_own_error(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    with pytest.raises(ConnectionClosedError), ledger.create("role", "r", lambda: None):
        raise NO_ANSWER
    assert states(tmp_path) == [("role", "uncertain", None)]


def test_a_resource_of_somebody_else_under_our_name_is_refused(tmp_path: Path) -> None:
    def look() -> str:
        raise OwnershipRefused("role r", "it exists already", "it does not carry the tags of run 1", "look")

    ledger = open_ledger(tmp_path)
    with pytest.raises(OwnershipRefused, match="it exists already"), ledger.create("role", "r", look):
        raise EXISTS
    assert states(tmp_path) == [("role", "uncertain", None)]


def test_when_the_look_gets_no_answer_either_the_calls_error_is_raised(tmp_path: Path) -> None:
    def look() -> str:
        raise NO_ANSWER

    ledger = open_ledger(tmp_path)
    with pytest.raises(ClientError, match="EntityAlreadyExists"), ledger.create("role", "r", look):
        raise EXISTS


def test_a_call_is_not_made_when_the_process_is_interrupted_while_its_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interruption looks at the ledger for instances; it sees the row, or the launch sees the interruption."""
    ledger, ends = open_ledger(tmp_path), threading.Event()
    monkeypatch.setattr("tasks.run.ending._ends", ends)
    monkeypatch.setattr("tasks.run.ledger.crash_point", lambda _name: ends.set())
    with pytest.raises(StageFailed, match="interrupted"), ledger.create("instance", "i", None):
        pytest.fail("the call was made")
    assert states(tmp_path) == [("instance", "uncertain", None)]


def test_adopting_what_a_crash_left_makes_it_created_and_adopting_again_writes_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.record("role", "r", "intended")
    ledger.adopt("role", "r", "arn")
    size = ledger.path.stat().st_size
    ledger.adopt("role", "r", "arn")
    assert (states(tmp_path), ledger.path.stat().st_size) == ([("role", "created", "arn")], size)


def test_the_file_and_its_folder_are_the_owners_only(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "run")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (ledger.path, ledger.path.parent)]
    assert modes == [0o600, 0o700]


CRASH = """
import sys; from pathlib import Path; from tasks.run.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), account_id="111122223333", endpoint="http://127.0.0.1:4577")
with ledger.create("role", "r", None):
    Path(sys.argv[1], "called").touch()
"""


@pytest.mark.parametrize(("moment", "called"), [("before", False), ("after", True)])
def test_a_kill_around_the_call_leaves_the_intended_row(tmp_path: Path, moment: str, called: bool) -> None:
    environment = {**os.environ, "KENNEL_CRASH_AT": f"role:{moment}"}
    ended = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], env=environment, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert (states(tmp_path), (tmp_path / "called").exists()) == ([("role", "intended", None)], called)


LOCK = """
import sys; from pathlib import Path; from tasks.run.ledger_rows import KINDS
from tasks.run.run_lock import run_lock
from tasks.teardown.plan import ORDER
with run_lock(Path(sys.argv[1])): pass
"""


def test_a_second_process_on_a_run_is_refused_by_the_pid_of_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOCK, str(tmp_path)]
    with run_lock(tmp_path), run_lock(tmp_path):
        refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert f"process {os.getpid()} is working on it" in refused.stderr
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    assert RunBusy.exit_code == 7


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a"); fcntl.flock(file, fcntl.LOCK_EX); print("held", flush=True); time.sleep(60)
"""


@pytest.mark.parametrize("content", ["", "999999999"])
def test_who_holds_a_lock_is_named_whatever_its_file_says(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
            with pytest.raises(RunBusy, match=f"process {holder.pid} is working on it") as refused, run_lock(tmp_path):
                pass
        finally:
            holder.kill()
    assert refused.value.next_command.endswith(f"or wait for process {holder.pid} to end")


def test_a_holder_that_cannot_be_seen_is_not_guessed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # this process is not looked at, as one of another user could not be
        with pytest.raises(RunBusy, match="this user may not see which") as refused, run_lock(tmp_path):
            pass
    assert refused.value.next_command.endswith(f"or find it: sudo fuser {tmp_path / 'lock'}")


def sealed(run_dir: Path, *lines: Mapping[str, object]) -> Path:
    """Write a ledger of the current format with these lines after its header."""
    ledger = open_ledger(run_dir)
    for line in lines:
        append(ledger.path, dict(line))
    return ledger.path


ROW = {"kind": "role", "name": "r", "state": "created", "at": "2026-11-28T00:00:00+00:00"}


@pytest.mark.parametrize("field", ["kind", "name", "state", "at", "identifier", "error"])
@pytest.mark.parametrize("value", [7, [], {"a": 1}, True, ["role"]])
def test_a_row_with_a_value_of_a_wrong_type_is_damaged_and_the_others_are_read(
    tmp_path: Path, field: str, value: object
) -> None:
    sealed(tmp_path, {**ROW, field: value}, {**ROW, "name": "whole"})
    found = inspect_ledger(tmp_path)
    assert [fault.line for fault in found.faults] == [2] and [row.name for row in found.rows] == ["whole"]


@pytest.mark.parametrize("changed", [{"at": "soon"}, {"at": "2026-11-28"}, {"state": "lost"}, {"name": None}])
def test_a_row_with_a_value_that_is_not_known_is_damaged(tmp_path: Path, changed: dict[str, object]) -> None:
    sealed(tmp_path, {**ROW, **changed})
    assert [fault.line for fault in inspect_ledger(tmp_path).faults] == [2]


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"name": f"https://host/{SECRET}/x.zip"}, "its name is none that AWS has for a role"),
        ({"kind": "s3-prefix", "name": f"s3://b/https://{SECRET}"}, "its name is none that AWS has for a s3-prefix"),
        ({"name": f"r\x1b[2J{SECRET}"}, "its name is none that AWS has for a role"),
        ({"name": f"r\n# PASSED {SECRET}"}, "its name is none that AWS has for a role"),
        ({"name": ""}, "its name is none that AWS has for a role"),
        ({"identifier": f"arn:aws:iam::999988887777:{SECRET}"}, f"its ARN is of another account than .*{ACCOUNT}"),
        ({"identifier": "arn:aws:lambda:eu-west-1:111122223333:function:f"}, "its ARN is of another region than"),
        ({"state": SECRET}, "its state is none of a row's"),
        ({"at": SECRET}, "at has to be a time with its zone"),
        ({SECRET: "x"}, "it has a field that no such line has"),
        ({"error": {SECRET: 1}}, "error has to be a text, not dict"),
    ],
)
def test_a_row_that_kennel_cannot_have_written_is_told_with_its_line_and_not_repeated(
    tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    sealed(tmp_path, {**ROW, **changed}, {**ROW, "name": "whole"})
    found = inspect_ledger(tmp_path)
    (fault,) = found.faults
    assert fault.line == 2 and re.match(why, fault.why) and [row.name for row in found.rows] == ["whole"]
    assert SECRET not in str(describe_run(tmp_path, None))


def test_a_row_of_a_kind_that_this_release_does_not_make_is_another_releases(tmp_path: Path) -> None:
    sealed(tmp_path / "a", ROW, {**ROW, "kind": f"https://host/{SECRET}"})
    sealed(tmp_path / "b", ROW)
    with pytest.raises(LedgerRefused, match=r"ledger\.jsonl:3 cannot be read") as caught:
        inspect_ledger(tmp_path / "a")
    assert "it has a kind of resource that this release of kennel does not make" in caught.value.why
    told = str([describe_run(tmp_path / name, None) for name in ("a", "b")]) + str(unread_ledgers(tmp_path, None))
    assert "ledger.jsonl:3" in told and SECRET not in told
    assert len(inspect_ledger(tmp_path / "b").rows) == 1


@pytest.mark.parametrize("field", ["account_id", "region", "endpoint"])
def test_a_header_of_no_aws_is_damaged_and_not_repeated(tmp_path: Path, field: str) -> None:
    header = {"run_id": tmp_path.name, "account_id": ACCOUNT, "endpoint": HERE, "region": "us-east-1", "ledger": 1}
    odd = {**header, field: f"https://user:{SECRET}@host/{SECRET}"}
    (tmp_path / FILE_NAME).write_text(json.dumps({"header": odd}) + "\n")
    assert [fault.line for fault in inspect_ledger(tmp_path).faults] == [1]
    assert SECRET not in str(describe_run(tmp_path, None))


def test_an_endpoint_with_a_path_is_read_and_its_path_not_shown(tmp_path: Path) -> None:
    host = "https://aws.example"
    open_ledger(tmp_path, endpoint=f"{host}/{SECRET}/").record("role", "r", "created")
    assert inspect_ledger(tmp_path).faults == ()
    told = describe_run(tmp_path, None)
    assert told["endpoint"] == f"{host}/..." and SECRET not in str(told)
    with pytest.raises(LedgerRefused) as caught:
        open_ledger(tmp_path, account="444455556666", endpoint="aws")
    assert f"{host}/..." in str(caught.value) and SECRET not in str(caught.value)


def test_every_kind_that_a_ledger_may_name_is_one_that_a_teardown_removes() -> None:
    assert set(ORDER) == set(KINDS)


@pytest.mark.parametrize("field", ["run_id", "account_id", "endpoint", "region", "home", "generation"])
def test_a_header_with_a_value_of_a_wrong_type_is_damaged(tmp_path: Path, field: str) -> None:
    header = {"run_id": tmp_path.name, "account_id": ACCOUNT, "endpoint": HERE, "region": "us-east-1", "ledger": 1}
    (tmp_path / FILE_NAME).write_text(json.dumps({"header": {**header, field: 7}}) + "\n")
    found = inspect_ledger(tmp_path)
    assert found.header is None and [fault.line for fault in found.faults] == [1]


def test_the_ledger_in_a_copied_folder_is_that_of_another_run(tmp_path: Path) -> None:
    sealed(tmp_path / "a", ROW)
    shutil.copytree(tmp_path / "a", tmp_path / "a.bak")
    with pytest.raises(LedgerOfAnotherRun, match="is the ledger of run a"):
        inspect_ledger(tmp_path / "a.bak")
    assert run_folders(tmp_path) == [tmp_path / "a", tmp_path / "a.bak"] and unread_ledgers(tmp_path, None) == []


def test_a_run_that_has_records_and_no_ledger_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "stage_data.json").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    assert run_folders(tmp_path) == [tmp_path / "lost"]
