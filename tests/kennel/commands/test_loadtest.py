"""The arguments of `kennel loadtest`: a traffic statement, numbers of the plan, and values that are refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from kennel.cli import call
from kennel.commands.loadtest import StatedTraffic, overrides_of, require_fitting, show_page, traffic_of
from tasks.load.options import SendingOptions, WorkerOptions
from tasks.run.errors import SettingsRefused
from tasks.run.record_store import save_record
from tasks.run.records import LoadReport
from tests.kennel.shell import Terminal
from tests.kennel.signalled import send, started
from tests.tasks.scaling.deployments import traffic

RATES = {"baseline_rps": 5.0, "peak_rps": 40.0, "spike_rps": 60.0}


def test_three_rates_are_a_statement_and_the_rest_has_defaults() -> None:
    found = traffic_of(None, StatedTraffic(**RATES, slo_p95_ms=250.0))
    assert found is not None
    assert (found.baseline_rps, found.slo_p95_ms, found.ramp_seconds) == (5.0, 250.0, 0.0)


def test_a_file_is_the_whole_statement(tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(json.dumps(vars(traffic())))
    assert traffic_of(path, StatedTraffic()) == traffic()
    with pytest.raises(SettingsRefused, match="give one of the two"):
        traffic_of(path, StatedTraffic(**RATES))


def test_nothing_said_is_no_statement() -> None:
    assert traffic_of(None, StatedTraffic()) is None


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ({"baseline_rps": 5.0}, "--peak, --spike is missing"),
        ({**RATES, "peak_rps": 1.0}, "have to satisfy baseline ≤ peak ≤ spike"),
        ({**RATES, "slo_p95_ms": -1.0}, "traffic.slo_p95_ms"),
    ],
)
def test_a_statement_that_does_not_fit_is_refused(stated: dict[str, float], why: str) -> None:
    with pytest.raises(SettingsRefused, match=why):
        traffic_of(None, StatedTraffic(**stated))


def test_numbers_by_hand_are_read() -> None:
    assert overrides_of(("target_value=60", "reserved_concurrency=2")) == {
        "target_value": 60.0,
        "reserved_concurrency": 2.0,
    }


@pytest.mark.parametrize("text", ["target_value", "target_value=", "target_value=many"])
def test_a_number_by_hand_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsRefused, match="--set"):
        overrides_of((text,))


def test_a_number_by_hand_that_is_given_twice_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsRefused, match="target_value is given twice"):
        overrides_of(("target_value=60", "reserved_concurrency=2", "target_value=70"))


def test_a_page_has_one_target() -> None:
    with pytest.raises(SettingsRefused, match="a page has one target"):
        show_page("run", SendingOptions(through="both"), port=0)


def test_wrong_arguments_end_with_2_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNEL_HOME", str(tmp_path / "home"))
    assert call(["loadtest", "run", "--mode", "checked", "--baseline", "5"]) == 2
    assert call(["loadtest", "run", "--mode", "sideways"]) == 2
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("workers", "is_plan", "has_page", "why"),
    [
        (WorkerOptions(workers=2), False, True, "the processes of Locust's page are on this machine"),
        (WorkerOptions(budget_usd=3), False, False, "--budget without --workers"),
        (WorkerOptions(worker_type="c7i.xlarge"), False, False, "--worker-type without --workers"),
        (WorkerOptions(), True, False, "--plan without --workers"),
    ],
)
def test_flags_that_do_not_fit_workers_are_refused(
    workers: WorkerOptions, is_plan: bool, has_page: bool, why: str
) -> None:
    require_fitting(WorkerOptions(workers=2, budget_usd=3), is_plan=True, has_page=False)
    with pytest.raises(SettingsRefused, match=why):
        require_fitting(workers, is_plan=is_plan, has_page=has_page)


CALL = "import sys; from kennel.cli import call; sys.exit(call(sys.argv[1:]))"


def test_the_plan_of_workers_shows_costs_and_what_a_high_rate_needs(tmp_path: Path) -> None:
    terminal, folder = Terminal(tmp_path / "home", tmp_path / "runs"), tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "ledger.jsonl").touch()
    report = LoadReport("t", "endpoint", 1, 1, 1, 1, 0, 1, 1, 1, 1, True, None, {}, requests_per_core=2500)
    save_record(folder, report)
    asked = ["loadtest", "r", "--workers", "2", "--worker-type", "c7i.xlarge", "--seconds", "30", "--plan"]
    shown = terminal.program("-c", CALL, *asked, "--budget", "0.01")
    text = " ".join(shown.out.replace("│", "").split())
    assert "2 × c7i.xlarge on demand, 0.1785 USD an hour each" in text
    assert "100,000 requests/s would need at most 50 processes" in text
    assert shown.code == 13 and "the budget is 0.01 USD" in shown.err
    checked = terminal.program("-c", CALL, "loadtest", "r", "--workers", "2", "--mode", "checked", "--plan")
    assert checked.code == 2 and "workers=2 in mode checked" in checked.err, "as without --plan"
    assert terminal.processes() == [], "no server was started"


PAGE = """
import subprocess, sys
from pathlib import Path
from kennel.commands.loadtest import wait_for_end
from kennel.signals import install, interrupt
from tasks.load.web_interface import LocustInterface
class Page(LocustInterface):
    def wait(self):
        print("begun", flush=True)
        return super().wait()
install(interrupt)
with Page(subprocess.Popen(["sleep", "300"], start_new_session=True), 1, Path()) as page:
    code = wait_for_end(page)
sys.exit(code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_page_ends_well_by_ctrl_c_and_with_the_code_of_another_signal(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started(Terminal(tmp_path / "home", tmp_path / "runs"), "-c", PAGE) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        done = send(process, number)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
