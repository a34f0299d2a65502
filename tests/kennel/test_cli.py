"""The output and exit code of commands that have nothing to run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.run.handle import RunFolder
from tasks.run.ledger import Ledger
from tasks.run.progress import Stage, log_stage
from tasks.run.progress_file import kept_progress
from tasks.run.run_lock import run_lock
from tests.hostile import harmful_in
from tests.kennel.interface import differences
from tests.kennel.shell import ROOT, Terminal
from tests.tasks.report.test_report import MODEL


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", tmp_path / "runs")


SLOW_IMPORTS = {"prefect", "boto3", "botocore", "pydantic", "numpy", "torch", "sagemaker", "moto", "paramiko"}


def test_help_is_quick_and_documents_the_exit_codes(terminal: Terminal) -> None:
    done = terminal.program("-X", "importtime", "-m", "kennel", "--help")
    assert done.code == 0
    assert "3  the data was refused" in done.out
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert "cyclopts" in imported, "the list of imports is the command's own"
    assert imported.isdisjoint(SLOW_IMPORTS)


@pytest.mark.parametrize("arguments", [("run", "--instanses", "2"), ("run", "--epochs", "many"), ("walk",)])
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    done = terminal.kennel(*arguments)
    assert done.code == 2
    assert arguments[-2 if len(arguments) > 1 else -1].strip("-") in done.err + done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize("more", [(), ("--help",), ("-h",), ("--version",)])
def test_no_argument_reaches_the_terminal_raw(terminal: Terminal, more: tuple[str, ...]) -> None:
    done = terminal.kennel("x\x1b]0;t\x07\u202e", *more)
    assert harmful_in(done.out + done.err) == set()


def test_localaws_refuses_an_argument_that_cannot_be_printed(terminal: Terminal) -> None:
    for arguments in (["status", "--home", "/tmp/\x1b[2J"], ["\x1b[2J"], ["--home", "/tmp/\u202e"]):
        done = terminal.program("-m", "localaws", *arguments)
        assert done.code == 2 and "cannot be printed" in done.err and harmful_in(done.out + done.err) == set()


def test_an_error_is_shown_in_its_parts_without_a_traceback_and_as_json_when_asked(terminal: Terminal) -> None:
    done = terminal.kennel("run", "--json", more={"AWS_ENDPOINT_URL": "http://198.51.100.7:80", "PREFECT_API_URL": "-"})
    assert done.code == 2
    assert "target: AWS_ENDPOINT_URL=http://198.51.100.7:80" in done.err
    assert "why:  an endpoint override must be on loopback" in done.err
    assert "next: unset AWS_ENDPOINT_URL" in done.err
    assert "Traceback" not in done.err
    assert differences("error", done.answer) == []
    assert done.answer["exit_code"] == 2
    assert done.answer["error"]["kind"] == "TargetRefused"


def test_status_names_no_server_and_no_run_in_a_fresh_home(terminal: Terminal) -> None:
    done = terminal.kennel("status", "--json")
    assert done.code == 0
    nothing = {"services": {"localaws": None, "prefect": None}, "home_bytes": 0, "runs": []}
    assert done.answer == nothing


def test_status_and_logs_of_an_unknown_run_say_which_are_known(terminal: Terminal) -> None:
    Ledger(terminal.runs / "known", account_id="123456789012", endpoint="http://127.0.0.1:1").record(
        "role", "r", "created"
    )
    for command in (("status",), ("logs",), ("down", "--yes")):
        done = terminal.kennel(*command, "unknown")
        assert done.code == 2
        assert "there is no such run" in done.err
        assert "known: known" in done.err


def test_a_misspelt_backbone_is_refused_before_anything_is_started(terminal: Terminal) -> None:
    done = terminal.kennel("run", "--backbone", "resnet9000")
    assert done.code == 2
    assert "--backbone resnet9000" in done.err
    assert "resnet50" in done.err
    assert not (terminal.home / "processes").exists()
    assert not terminal.runs.exists()


def test_down_without_a_running_emulator_closes_its_rows_and_leaves_other_endpoints_alone(terminal: Terminal) -> None:
    local = Ledger(terminal.runs / "here", account_id="123456789012", endpoint="http://127.0.0.1:1")
    local.record("role", "kennel-here-training", "created")
    real = Ledger(terminal.runs / "there", account_id="210987654321", endpoint="aws")
    real.record("role", "kennel-there-training", "created")
    headless = Ledger(terminal.runs / "headless", account_id="210987654321", endpoint="aws")
    headless.record("role", "kennel-headless-training", "created")
    damaged = headless.path.read_bytes().replace(b'"endpoint": "aws"', b'"endpoint": "awz"')
    headless.path.write_bytes(damaged)
    busy = Ledger(terminal.runs / "busy", account_id="123456789012", endpoint="http://127.0.0.1:1")
    busy.record("role", "kennel-busy-training", "created")
    with run_lock(terminal.runs / "busy"):
        done = terminal.kennel("down", "--yes", "--json")
    assert done.code == 10, done.err
    assert done.answer["forgotten"] == ["role kennel-here-training"], done.err
    assert headless.path.read_bytes() == damaged, "its resources may be on real AWS"
    assert len(busy.live()) == 1, "another process works on it"
    assert local.live() == []
    assert [row.name for row in real.live()] == ["kennel-there-training"]
    assert "run there: 1 resources on AWS, account 210987654321, are not removed" in done.err


def test_status_shows_a_damaged_ledger_and_goes_on_with_the_other_runs(terminal: Terminal) -> None:
    runs = {name: Ledger(terminal.runs / name, account_id="210987654321", endpoint="aws") for name in ("bad", "good")}
    for name, ledger in runs.items():
        ledger.record("role", f"kennel-{name}-training", "created")
        ledger.record("endpoint", f"kennel-{name}-endpoint", "created")
    (terminal.runs / "empty").mkdir()
    (terminal.runs / "empty" / "ledger.jsonl").touch()
    bad = runs["bad"].path
    bad.write_bytes(bad.read_bytes().replace(b"bad-endpoint", b"bad-endpoinT"))
    shown = terminal.kennel("status", "--json")
    found = {run["run_id"]: (len(run["live"]), run["fault"]) for run in shown.answer["runs"]}
    assert shown.code == 0 and differences("status", shown.answer) == []
    assert found["good"] == (2, None)
    assert found["bad"][0] == 1 and f"{bad}:3 is damaged: the line" in found["bad"][1]
    assert "empty/ledger.jsonl:1 is damaged: the file is empty" in found["empty"][1]
    alone = terminal.kennel("status", "bad")
    assert alone.code == 6 and "is damaged" in alone.out
    assert any(line.split() == ["free", "1", "1", "role"] for line in alone.out.splitlines())


def test_runs_are_listed_side_by_side_and_a_damaged_record_is_said(terminal: Terminal) -> None:
    for name in ("dogs", "cats\x1b[2J"):
        Ledger(terminal.runs / name, account_id="210987654321", endpoint="aws").record("role", "kennel-r", "created")
    RunFolder(terminal.runs / "dogs").keep(MODEL)
    (terminal.runs / "dogs" / "smoke.json").write_text("{")
    shown = terminal.kennel("runs", "--sort", "accuracy")
    head, *rows = shown.out.splitlines()
    assert shown.code == 0 and head.split()[:2] == ["run", "date"]
    assert rows[0].startswith("dogs ") and f"{MODEL.test_accuracy:.3f} (" in rows[0]
    assert rows[1].startswith("cats\\x1b[2J") and "\x1b[2J" not in shown.out
    assert "run dogs: smoke.json cannot be read: " in " ".join(shown.err.split())
    answer = terminal.kennel("runs", "--json").answer
    assert differences("runs", answer) == [] and len(answer["runs"]) == 2


def test_where_there_is_no_run_that_is_said(terminal: Terminal) -> None:
    assert f"there are no runs under {terminal.runs}" in " ".join(terminal.kennel("runs").err.split())
    assert terminal.kennel("runs", "--json").answer == {"runs": []}


def test_status_says_what_was_lost_with_an_embedded_aws_that_has_ended(terminal: Terminal) -> None:
    home = str(terminal.home / "localaws")
    past = Ledger(
        terminal.runs / "past", account_id="123456789012", endpoint="http://127.0.0.1:1", home=home, generation="g1"
    )
    past.record("role", "kennel-past-training", "created")
    before = past.path.read_bytes()
    run = terminal.kennel("status", "--json").answer["runs"][0]
    assert (run["live"], [row["name"] for row in run["lost"]]) == ([], ["kennel-past-training"])
    assert "all 1 were lost with the embedded AWS" in " ".join(terminal.kennel("status").out.split())
    assert past.path.read_bytes() == before, "status changes nothing"


@pytest.mark.parametrize(
    ("arguments", "what", "why"),
    [
        (("run", "--epochs", "0"), "--epochs 0", "at least 1 and at most 1,000"),
        (("run", "--ec2-instances", "21"), "--ec2-instances 21", "at least 0 and at most 20"),
        (("run", "--learning-rate", "0"), "--learning-rate 0", "more than 0 and at most 10"),
        (
            ("run", "--endpoint-instance-type", "m5.large"),
            "--endpoint-instance-type m5.large",
            "such as ml.m5.xlarge",
        ),
        (("run", "--allow-host", "localhost:*"), "--allow-host localhost:*", "it has to be a host and a port, such as"),
        (("run", "--run-id", "A"), "--run-id A", "it has to be 1 to 24 lower-case letters, digits and hyphens"),
        (("train-ec2", "--instances", "0"), "--instances 0", "at least 1 and at most 20"),
        (("run", "--search-space", "[" * 3000), f"--search-space {'[' * 80}…", "at most 2000 characters"),
        (("loadtest", "r", "--mode", "sideways"), "--mode sideways", "'steady' or 'checked'"),
    ],
)
def test_a_flag_out_of_bounds_is_named_with_what_is_allowed_before_anything_is_started(
    terminal: Terminal, arguments: tuple[str, ...], what: str, why: str
) -> None:
    done = terminal.kennel(*arguments, "--json")
    error = done.answer["error"]
    assert (done.code, error["kind"], error["what"]) == (2, "SettingsRefused", what)
    assert why in error["why"]
    assert error["next"] == f"kennel {arguments[0]} --help"
    assert not terminal.home.exists()


def test_a_url_for_anybody_is_not_made_without_its_own_confirmation(terminal: Terminal) -> None:
    refused = terminal.kennel("run", "--public-url", "none", "--yes", "--json")
    error = refused.answer["error"]
    assert (refused.code, error["kind"], error["what"]) == (13, "SpendingRefused", "--public-url none")
    assert "--confirm-public" in error["next"]
    assert not terminal.runs.exists()


def test_a_defect_is_one_message_with_the_file_that_has_its_traceback(terminal: Terminal) -> None:
    defect = "from kennel import cli; cli.app.command(lambda *, json=False: 1 // 0, name='defect'); cli.main()"
    done = terminal.program("-c", defect, "defect", "--json")
    error = done.answer["error"]
    assert (done.code, error["kind"]) == (1, "Unexpected"), done.err
    assert "ZeroDivisionError" in error["what"]
    assert "Traceback" not in done.err
    (path,) = (terminal.home / "logs").glob("error-*.txt")
    assert str(path) in error["why"]
    assert "Traceback" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


DEFECT = """
import sys
def meet(event, arguments):
    if event == "import" and arguments[0] == sys.argv[1]:
        raise ZeroDivisionError("a defect")
sys.addaudithook(meet)
from kennel.cli import call
code = call(sys.argv[2:])
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("kennel.commands.status", ("status",)),
        ("kennel.commands.logs", ("logs",)),
        ("kennel.commands.runs", ("runs",)),
        ("kennel.commands.prune", ("runs", "--prune", "--keep", "1")),
        ("kennel.commands.compare", ("compare", "a", "b")),
        ("kennel.commands.writeup", ("writeup", "a")),
        ("kennel.commands.predict", ("predict", "a", "b.jpg")),
        ("kennel.commands.open", ("open",)),
        ("kennel.commands.up_down", ("up",)),
        ("kennel.commands.up_down", ("down", "--yes")),
        ("kennel.commands.up_down", ("prepare",)),
        ("kennel.commands.audit", ("audit",)),
        ("kennel.commands.demo", ("demo",)),
        ("kennel.commands.data_argument", ("run",)),
        ("kennel.commands.data_argument", ("inspect", "sample")),
        ("kennel.commands.notebook", ("notebook", "list")),
        ("kennel.commands.flow_run", ("promote", "r", "1")),
        ("kennel.commands.flow_run", ("rollback", "r")),
        ("kennel.commands.data_argument", ("retrain", "r")),
        ("kennel.commands.flow_run", ("drift", "r")),
        ("kennel.commands.iam", ("iam", "used", "r")),
        ("kennel.commands.iam", ("iam", "operator-policy")),
    ],
)
def test_a_defect_of_any_command_leaves_its_traceback_in_the_homes_logs(
    terminal: Terminal, module: str, command: tuple[str, ...]
) -> None:
    done = terminal.program("-c", DEFECT, module, *command)
    (path,) = (terminal.home / "logs").glob("error-*.txt")
    said = "".join(done.err.split())
    assert done.code == 1 and str(path) in said and "ZeroDivisionError:adefect" in said, done.err
    assert "Traceback" not in done.err and "ZeroDivisionError: a defect" in path.read_text()


def test_a_defect_of_a_thread_is_one_line_with_the_file_that_has_its_traceback(terminal: Terminal) -> None:
    defect = """
import threading
from kennel import cli
def work(*, json=False):
    thread = threading.Thread(target=lambda: 1 // 0, name="watch")
    thread.start()
    thread.join()
cli.app.command(work, name='defect')
cli.main()
"""
    done = terminal.program("-c", defect, "defect")
    (path,) = (terminal.home / "logs").glob("error-*.txt")
    assert done.code == 0 and "WARNING: thread 'watch' ended: ZeroDivisionError" in done.err
    assert str(path) in "".join(done.err.split()) and "Traceback" not in done.err
    assert "ZeroDivisionError" in path.read_text()


def test_a_reader_that_has_ended_is_no_error(terminal: Terminal) -> None:
    command = f"{sys.executable} -m kennel status; echo $? >&2"
    shell = ["bash", "-c", f"({command}) | true"]
    done = subprocess.run(shell, cwd=ROOT, env=terminal.environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.splitlines()[-1] in {"0", "141"}


def test_the_home_is_found_in_a_folder_above_and_said(tmp_path: Path) -> None:
    here = Terminal(tmp_path / "home", tmp_path / "runs").environment
    environment = {name: value for name, value in here.items() if not name.startswith("KENNEL_")}
    deep = tmp_path / "project" / "notebooks"
    deep.mkdir(parents=True)
    (tmp_path / "project" / ".kennel").mkdir()
    command = [sys.executable, "-m", "kennel", "status"]
    done = subprocess.run(command, cwd=deep, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert f"home: {tmp_path / 'project' / '.kennel'} (found in a folder above" in " ".join(done.stderr.split())
    assert str(tmp_path / "project" / "runs") in " ".join(done.stderr.split())


def test_an_interrupted_command_with_json_ends_with_one_object(tmp_path: Path) -> None:
    script = """
import os, signal, sys, time
sys.argv = ["kennel", "run", "--json"]
from kennel.commands.interrupted import handle_interrupts
handle_interrupts()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""
    ended = Terminal(tmp_path / "home", tmp_path / "runs").program("-c", script)
    assert ended.code == ended.answer["exit_code"] == 143
    assert ended.answer["error"]["kind"] == "Interrupted"


def test_one_run_with_records_of_nonsense_does_not_hide_the_others_from_status(terminal: Terminal) -> None:
    for name in ("good", "odd", "headless"):
        ledger = Ledger(terminal.runs / name, account_id="210987654321", endpoint="aws")
        ledger.record("endpoint", f"kennel-{name}-endpoint", "created")
        ledger.record("training-job", f"kennel-{name}-train", "created")
    (terminal.runs / "odd" / "endpoint.json").write_text(f'{{"record": "endpoint", "instance_count": {10**400}}}')
    (terminal.runs / "odd" / "pipeline.json").write_text('{"seconds": {"stage_data": Infinity, "deploy": 1e400}}')
    headless = terminal.runs / "headless" / "ledger.jsonl"
    headless.write_bytes(headless.read_bytes().replace(b'"region"', b'"rEgion"', 1))
    with kept_progress(terminal.runs / "good", ("stage_data", "deploy")):
        log_stage(Stage("stage_data", "begins"))
        shown = terminal.kennel("status", "--json")
        assert terminal.kennel("status").code == 0
    assert shown.code == 0 and differences("status", shown.answer) == []
    runs = {run["run_id"]: run for run in shown.answer["runs"]}
    assert runs["good"]["doing"]["stage"] == "stage_data" and 0 < runs["good"]["doing"]["left_seconds"] < 60
    for name in ("odd", "headless"):
        (cost,) = runs[name]["costs"]
        assert (cost["kind"], cost["usd_per_hour"], len(cost["names"])) == ("any", None, 2)
