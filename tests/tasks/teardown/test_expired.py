"""Runs that are past their time to live are removed, by their record or by their tags; others stay."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.account.roles import ensure_log_group
from tasks.plan.wanted import Limits, Wanted
from tasks.plan.within import begin_within
from tasks.run.aws import Aws
from tasks.run.errors import LedgerRefused, RunBusy
from tasks.run.expiry import EXPIRES_TAG, expiry_of, expiry_tags, set_expiry, time_of
from tasks.run.handle import Run
from tasks.run.options import TrainingOptions
from tasks.run.settings import Settings
from tasks.teardown.expired import tear_down_expired, times_to_live
from tests.conftest import RunningLocalAws

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def aws(own_localaws: RunningLocalAws, tmp_path: Path) -> Iterator[Aws]:
    yield Aws(Settings(endpoint_url=own_localaws.url, home=tmp_path / "home", runs=tmp_path / "runs"))
    logs = own_localaws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])


def make(aws: Aws, run_id: str, ttl_hours: float | None) -> None:
    run = Run(aws, run_id)
    if ttl_hours is not None:
        set_expiry(run.folder, ttl_hours, NOW)
    ensure_log_group(run, f"/aws/lambda/kennel-{run_id}-classify")


def _quiet(_: str) -> None:
    """Say nothing."""


def left(aws: Aws) -> list[str]:
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/kennel-")["logGroups"]
    return [group["logGroupName"].split("-")[1] for group in groups]


def test_only_what_is_past_its_time_is_removed(aws: Aws) -> None:
    for name, hours in (("short", 1.0), ("long", 5.0), ("free", None)):
        make(aws, name, hours)
    lines: list[str] = []
    report = tear_down_expired(aws, yes=True, say=lines.append, now=NOW + timedelta(hours=2))
    assert report.runs == ("short",)
    assert left(aws) == ["free", "long"]
    assert lines[0] == "run short: its time to live was over at 2026-11-28T13:00:00+00:00"
    assert tear_down_expired(aws, yes=True, say=lines.append, now=NOW + timedelta(hours=2)).runs == ()
    assert lines[-1] == "no run is past its time to live"


@pytest.mark.parametrize("record", ['{"record":"Expiry","unix_sec', '{"record":"Expiry","unix_seconds":1e300}'])
def test_a_run_whose_time_cannot_be_read_keeps_no_other_from_being_removed(aws: Aws, record: str) -> None:
    make(aws, "damaged", 1.0)
    make(aws, "short", 1.0)
    (aws.settings.run_dir("damaged") / "expires.json").write_text(record)
    (aws.settings.run_dir("empty")).mkdir()
    (aws.settings.run_dir("empty") / "expires.json").write_text(record)
    with pytest.raises(LedgerRefused, match=r"damaged/expires\.json"):
        tear_down_expired(aws, yes=True, say=_quiet, now=NOW + timedelta(hours=2))
    assert left(aws) == ["damaged"]


HOLD = """
import sys, time; from pathlib import Path; from tasks.run.ledger_rows import KINDS
from tasks.run.run_lock import run_lock
with run_lock(Path(sys.argv[1])): print("held", flush=True); time.sleep(600)
"""


def test_a_run_that_another_process_works_on_keeps_no_other_from_being_removed(aws: Aws) -> None:
    make(aws, "busy", 1.0)
    make(aws, "short", 1.0)
    lines: list[str] = []
    command = [sys.executable, "-c", HOLD, str(aws.settings.run_dir("busy"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusy):
            tear_down_expired(aws, yes=True, say=lines.append, now=NOW + timedelta(hours=2))
        holder.kill()
    assert left(aws) == ["busy"]
    assert any(line.startswith("run busy: ") and "the other runs are removed first" in line for line in lines)


def test_without_the_runs_folder_the_tags_tell_the_time(aws: Aws) -> None:
    make(aws, "short", 1.0)
    shutil.rmtree(aws.settings.runs)
    assert times_to_live(aws) == ({"short": NOW + timedelta(hours=1)}, [])
    assert tear_down_expired(aws, yes=True, say=_quiet, now=NOW + timedelta(hours=2)).removed
    assert left(aws) == []


def test_a_later_time_of_the_record_prevails_over_the_tags(aws: Aws) -> None:
    make(aws, "short", 1.0)
    set_expiry(aws.settings.run_dir("short"), 5.0, NOW)
    assert tear_down_expired(aws, yes=True, say=_quiet, now=NOW + timedelta(hours=2)).runs == ()
    assert left(aws) == ["short"]


def test_a_run_that_begins_anew_without_a_time_to_live_loses_one_that_is_past(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KENNEL_RUNS", str(aws.settings.runs))
    wanted = Wanted("again", TrainingOptions())
    set_expiry(aws.settings.run_dir("again"), 1.0, NOW.replace(year=2020))
    begin_within(wanted, Limits())
    assert expiry_of(aws.settings.run_dir("again")) is None
    begin_within(wanted, Limits(ttl_hours=1.0))
    begin_within(wanted, Limits())
    assert expiry_of(aws.settings.run_dir("again")) is not None


def test_the_tag_is_in_utc_and_the_bucket_has_none(aws: Aws, tmp_path: Path) -> None:
    expiry = set_expiry(tmp_path / "r", 0.5, NOW)
    assert expiry_tags(tmp_path / "r") == {EXPIRES_TAG: "2026-11-28T12:30:00+00:00"}
    assert expiry_of(tmp_path / "r") == expiry.at == NOW + timedelta(minutes=30)
    assert expiry_tags(tmp_path / "none") == {}


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-11-28T12:30:00"])
def test_a_tag_that_is_no_time_is_none(text: str) -> None:
    assert time_of(text) is None
