"""Tests the whole load test with Locust in its own process: files are kept, counts exact, invalid runs refused."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadtest.arrivals import Stage, poisson_arrivals
from tasks.load import locust_process
from tasks.load.generator import GeneratorOptions, LoadStage, require_owner, run_load_test
from tasks.load.report import report_markdown
from tasks.run.errors import Inconclusive, OwnershipRefused, SettingsRefused, StageFailed, Unreachable, WaitTimedOut
from tasks.run.record_store import load_record
from tasks.run.records import EndpointRef, FunctionRef, LoadReport
from tasks.run.settings import Settings
from tests.command_lines import command_line
from tests.conftest import ROOT
from tests.loadtest.conftest import InvokeServer, running_server
from tests.tasks.load.void_runs import even_if_void

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint"
Load = Callable[..., LoadReport]


def endpoint(name: str) -> EndpointRef:
    return EndpointRef(name, f"{ARN}/{name}", "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)


def function(name: str) -> FunctionRef:
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    return FunctionRef(name, arn, "1", "live", f"{arn}:live", "role", "role-arn", "sha", "endpoint")


def test_a_load_test_that_begins_forgets_what_the_former_one_was_made_of(tmp_path: Path) -> None:
    for record in ("loadtest", "loadtest-of"):
        (tmp_path / f"{record}.json").write_text("{}")
    with pytest.raises(SettingsRefused):
        run_load_test(Settings(), tmp_path, target=endpoint("e"), images=[], rate_per_second=0, seconds=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def load(server: InvokeServer, image: Path, tmp_path: Path) -> Load:
    """Run a load test with short defaults against the server."""

    def run(
        target: EndpointRef | FunctionRef,
        rate_per_second: float = 300,
        seconds: float = 1.5,
        options: GeneratorOptions | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> LoadReport:
        return run_load_test(
            Settings.load(endpoint_url=server.url, region="us-east-1"),
            tmp_path / "run",
            target=target,
            images=[image],
            rate_per_second=rate_per_second,
            seconds=seconds,
            options=options or GeneratorOptions(warm_up_seconds=0.5, drain_seconds=5, seed=4),
            say=say,
        )

    return run


def test_counts_are_exact_from_the_drawn_arrivals_to_locusts_csv_and_no_secret_is_kept(
    load: Load, server: InvokeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    lines: list[str] = []
    report = even_if_void(tmp_path / "run", lambda: load(endpoint("throttles"), say=lines.append))
    drawn = list(poisson_arrivals([Stage(300, 0.5), Stage(300, 1.5)], seed=4))
    assert report.requests == report.answered + report.failures == sum(time >= 0.5 for time in drawn)
    assert report.warm_up_requests == sum(time < 0.5 for time in drawn)
    assert report.errors == {"429 ThrottlingException": report.failures}
    assert report.error_kinds == {"throttled": report.failures}
    assert sum(server.counts().values()) == len(drawn)
    with Path(report.files["csv"]).open() as file:
        total = list(csv.DictReader(file))[-1]
    assert (int(total["Request Count"]), int(total["Failure Count"])) == (report.requests, report.failures)
    assert report.p90_ms is not None and report.p99_ms is None  # 300 answers, 662 are needed
    assert load_record(tmp_path / "run", LoadReport) == report
    assert "throttles" in Path(report.files["html"]).read_text() and lines[0].startswith("load test throttles")
    assert "too few samples" in report_markdown(report)
    kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(kept) >= 7 and not [path for path in kept if b"canary" in path.read_bytes().lower()]


def test_a_server_that_stands_still_for_five_seconds_shows_in_p99(
    load: Load, server: InvokeServer, tmp_path: Path
) -> None:
    seconds, stopped = 12.0, 5.0
    server.stall(once_answered=240, seconds=stopped)
    options = GeneratorOptions(warm_up_seconds=0.2, drain_seconds=10, seed=2)
    report = even_if_void(tmp_path / "run", lambda: load(endpoint("steady"), 120, seconds, options))
    # A closed model would have sent one request for each user in that time: a share of less than a hundredth.
    truth_ms = 1000 * (stopped - 0.01 * seconds)
    assert report.requests == report.answered
    assert report.p99_ms == pytest.approx(truth_ms, rel=0.1)
    assert report.p50_ms is not None and report.p50_ms < truth_ms / 4


def test_two_processes_share_the_rates_of_all_stages_and_their_counts_are_merged(
    load: Load, server: InvokeServer, tmp_path: Path
) -> None:
    later = LoadStage(400, 1)
    options = GeneratorOptions(further_stages=(later,), warm_up_seconds=0.5, drain_seconds=5, processes=2, seed=9)
    report = even_if_void(tmp_path / "run", lambda: load(function("classify"), 100, 1, options))
    plan = [Stage(100, 0.5), Stage(100, 1), Stage(400, 1)]
    drawn = [time for worker in (0, 1) for time in poisson_arrivals(plan, seed=9, worker=worker, workers=2)]
    assert report.requests == report.answered == sum(time >= 0.5 for time in drawn)
    assert server.counts() == {"200": len(drawn)}
    assert (report.kind, report.target, report.processes) == ("function", "classify:live", 2)
    assert (report.asked_rps, report.seconds) == (250, 2)
    content = json.loads(Path(report.files["json"]).read_bytes())
    assert content["latency_ms"]["samples"] == sum(row["answered"] for row in content["timeline"]) == report.answered
    assert content["timeline"][1]["due"] > 2 * content["timeline"][0]["due"]


def test_a_function_that_answers_only_errors_fails_the_load_test(load: Load, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"none of [0-9]+ requests succeeded: [0-9]+ x 422 BadImage"):
        load(function("bad-image"), 50, 0.5)
    report = load_record(tmp_path / "run", LoadReport)
    assert report is not None and report.failures == report.requests > 0 and report.p50_ms is None
    assert Path(report.files["html"]).is_file()


def test_a_target_that_dies_half_way_fails_with_the_report_kept(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = 100.0  # on a busy machine Locust outlives two looks at the lost AWS, which the next test is about
    monkeypatch.setattr(locust_process, "LOOK_SECONDS", never)
    with pytest.raises(StageFailed, match=r"the target went away: the last [0-9]+ requests found no connection"):
        load(endpoint("dies"), 80, 1.5)
    report = load_record(tmp_path / "run", LoadReport)
    assert report is not None and report.answered > 0 and report.errors["ConnectionRefusedError"] >= 10
    assert report.requests == report.answered + report.failures


def test_an_embedded_aws_that_ends_ends_the_load_test_within_seconds(image: Path, tmp_path: Path) -> None:
    with running_server() as server:
        threading.Timer(3.0, server.process.kill).start()
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="ended during the load test"):
            run_load_test(
                Settings.load(endpoint_url=server.url, region="us-east-1"),
                tmp_path / "run",
                target=endpoint("e"),
                images=[image],
                rate_per_second=5,
                seconds=300,
                say=lambda _: None,
            )
    assert time.monotonic() - begun < 150, "a busy machine takes a while to start Locust"
    assert not [each for each in psutil.Process().children(recursive=True) if "locustfile" in command_line(each)]


def test_a_target_that_is_dead_is_refused_before_any_load(load: Load, server: InvokeServer) -> None:
    server.process.kill()
    server.process.wait()
    with pytest.raises(StageFailed, match="does not accept connections"):
        load(endpoint("steady"))


def test_a_generator_that_breaks_ends_at_once_and_says_why(server: InvokeServer, image: Path, tmp_path: Path) -> None:
    unknown = tmp_path / "photo.gif"
    unknown.write_bytes(image.read_bytes())
    settings, begun = Settings.load(endpoint_url=server.url), time.monotonic()
    with pytest.raises(
        StageFailed,
        match=r"without a result\n  why: .*ImageError: .*photo.gif is not an image: its name must end in .jpg",
    ):
        run_load_test(
            settings,
            tmp_path,
            target=endpoint("steady"),
            images=[unknown],
            rate_per_second=9,
            seconds=600,
            say=lambda _: None,
        )
    assert time.monotonic() - begun < 120
    assert server.counts() == {}


@pytest.mark.parametrize("arn", [f"{ARN}/e", "", "arn:aws:lambda:us-east-1::function:f"])
def test_a_target_of_another_account_is_refused(arn: str) -> None:
    with pytest.raises(OwnershipRefused, match="only endpoints and functions of account 999999999999"):
        require_owner(arn, "999999999999")


def test_a_run_without_a_request_fails(load: Load) -> None:
    with pytest.raises(StageFailed, match="no request was sent"):
        load(endpoint("steady"), 0.001, 0.2)


def test_a_rate_beyond_the_generator_is_void_and_its_report_kept(load: Load, tmp_path: Path) -> None:
    options = GeneratorOptions(warm_up_seconds=0.0, drain_seconds=0.2)
    with pytest.raises(StageFailed, match=r"the generator, not the target, was at fault: .*under 99 %"):
        load(endpoint("steady"), 100_000, 1, options)
    report = load_record(tmp_path / "run", LoadReport)
    assert report is not None and not report.is_valid and report.unsent > 0


def test_a_generator_that_was_killed_voids_the_run(load: Load, tmp_path: Path) -> None:
    plan = str(tmp_path / "run" / "loadtest" / "plan.json")

    def kill_a_worker(line: str) -> None:
        if " 0 answered" in line:
            return
        generators = [each for each in psutil.Process().children(recursive=True) if plan in environment_of(each)]
        if len(generators) == 3:  # the master and its two workers
            max(generators, key=lambda each: each.pid).kill()

    options = GeneratorOptions(warm_up_seconds=0.0, drain_seconds=5, processes=2)
    with pytest.raises(Inconclusive, match=r"1 of 2 load generators is missing: generator . on .* vanished") as void:
        load(endpoint("steady"), 50, 120, options, kill_a_worker)
    report = load_record(tmp_path / "run", LoadReport)
    assert void.value.exit_code == 11 and report is not None and not report.is_valid


def environment_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("KENNEL_LOADTEST_PLAN", "")
    except psutil.Error:
        return ""


def test_a_generator_that_does_not_end_is_killed_with_its_workers(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The allowance for starting is the only part of the deadline that a person does not set.
    monkeypatch.setattr("tasks.load.generator._START_SECONDS", -2.0)
    options = GeneratorOptions(warm_up_seconds=0.0, drain_seconds=0.0, processes=2)
    with pytest.raises(WaitTimedOut, match="kennel killed the load generator"):
        load(endpoint("steady"), 50, 5, options)
    plan = str(tmp_path / "run" / "loadtest")
    assert [child for child in psutil.Process().children(recursive=True) if plan in command_line(child)] == []


@pytest.mark.parametrize(
    ("target", "image", "rate", "why"),
    [
        (endpoint("e"), "missing.jpg", 10, "there is no such image file"),
        (endpoint("e"), "http://127.0.0.1:1/a.jpg", 10, "an endpoint takes the image itself"),
        (endpoint("e"), "missing.jpg", 0, "a rate is above 0"),
    ],
)
def test_what_cannot_be_tested_is_refused(
    server: InvokeServer, tmp_path: Path, target: EndpointRef, image: str, rate: float, why: str
) -> None:
    with pytest.raises(SettingsRefused, match=why):
        run_load_test(
            Settings.load(endpoint_url=server.url),
            tmp_path,
            target=target,
            images=[image],
            rate_per_second=rate,
            seconds=1,
        )
    assert server.counts() == {}


LONG_RUN = """
import sys
from pathlib import Path
from tasks.load.generator import run_load_test
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
target = EndpointRef("steady", "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)
url, run_dir, image = sys.argv[1:]
run_load_test(Settings.load(endpoint_url=url), Path(run_dir), target=target, images=[image],
              rate_per_second=20, seconds=60, say=lambda line: print(line, flush=True))
"""


def test_a_load_test_whose_parent_was_killed_ends_by_itself(server: InvokeServer, image: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LONG_RUN, server.url, str(tmp_path), str(image)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as parent:
        assert parent.stdout is not None and "load test steady" in parent.stdout.readline()
        generators = psutil.Process(parent.pid).children(recursive=True)
        assert generators
        parent.kill()
    _, alive = psutil.wait_procs(generators, timeout=60)
    assert alive == []
