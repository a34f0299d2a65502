"""Tests that the report shows what the records hold."""

import dataclasses
import re
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.load.report import FILES, LoadTestIdentity, load_text
from tasks.page.page import write_page
from tasks.report.markdown import summary_markdown
from tasks.report.rows import summary_json, summary_rows
from tasks.report.summary import StageTimes, accuracy_interval, forget_load_test_of_other_deployment, summarise
from tasks.run.errors import Inconclusive
from tasks.run.handle import RunFolder
from tasks.run.record_store import Record
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, LoadReport, TrainedModel
from tasks.sagemaker.download import DownloadedTraining
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.report import raise_unless_passed
from tasks.verdicts.verdicts import judge_prediction
from tests.tasks.scaling.deployments import plan as scaling_plan

COUNTS = {"train": {"x": 10, "y": 10}, "validation": {"x": 2, "y": 2}, "test": {"x": 20, "y": 21}}
DATA = DatasetRef("b", "datasets/d", "digest", "dogs", ("x", "y"), COUNTS, 4_200_000, 3, "dogs.zip", {"train": 8})
MODEL = TrainedModel(
    job_name="job-1",
    job_arn="arn:job",
    model_uri="s3://b/model.tar.gz",
    backbone="efficientnet_lite0",
    classes=("x", "y"),
    test_accuracy=38 / 41,
    test_images=41,
    metrics={"test_accuracy": 38 / 41, "validation_loss": 0.25},
    instance_type="ml.m5.xlarge",
    instance_count=2,
    instance_reason="frozen",
    spot=False,
    seconds=61.5,
    billable_seconds=60,
    cost_usd=0.0077,
    data_digest="digest",
)
RECORDS: tuple[Record, ...] = (
    DATA,
    MODEL,
    EndpointRef("e", "arn:e", "c", "m", "primary", "ml.m5.large", 1, "s3://b/model.tar.gz", 2.3),
    FunctionRef("f", "arn:f", "4", "live", "arn:f:live", "role", "arn:role", "00", "e"),
    SmokeResult("00000/00000000.jpg", "x", "y", 0.61, 2, 12.5, {"x": 0.39, "y": 0.61}),
    StageTimes({"stage_data": 1.25, "train_sagemaker": 61.6}, "AWS, us-east-1"),
)
LOAD = LoadReport(
    target="classify:live",
    kind="function",
    asked_rps=30.0,
    intended_rps=29.7,
    achieved_rps=29.7,
    seconds=54.0,
    requests=1608,
    answered=1102,
    failures=506,
    unsent=0,
    warm_up_requests=20,
    p50_ms=67.0,
    p90_ms=90.0,
    p95_ms=None,
    p99_ms=None,
    max_ms=140.0,
    errors={"429 TooManyRequestsException": 506},
    error_kinds={"throttled": 506},
    is_valid=True,
    why_invalid=None,
    why_failed=None,
    concurrency=2.0,
    lag_p99_ms=1.0,
    generator_cpu=0.2,
    processes=1,
    files={},
    hardware="a machine",
    time_scale=1.0,
    wall_seconds=56.0,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "dogs-1")
    for record in RECORDS:
        made.keep(record)
    return made


def test_the_interval_is_wilsons() -> None:
    # 38 of 41: Wilson's formula by hand gives 0.806 to 0.975
    assert accuracy_interval(38 / 41, 41) == pytest.approx((0.806, 0.975), abs=1e-3)
    assert accuracy_interval(1.0, 12)[1] == 1.0


def test_the_report_has_the_records_figures_with_their_n(run: RunFolder) -> None:
    text = summary_markdown(summarise(run))
    for figure in (
        "0.9268 on 41 images",
        "2 × ml.m5.xlarge",
        "61.5 s",
        "3 quarantined",
        "version 4",
        "classified as y",
        "AWS, us-east-1",
        "0.6100",
    ):
        assert figure in text
    assert "There is no load test" in text


def test_a_cost_at_a_price_that_is_not_known_is_told_as_unknown(run: RunFolder) -> None:
    run.keep(dataclasses.replace(MODEL, cost_usd=None))
    summary = summarise(run)
    assert summary_rows(summary)["training cost"] == "unknown: its price is not known"
    assert "billable, at a price that is not known." in summary_markdown(summary)


def test_the_summary_says_when_the_smoke_tests_label_was_wrong(run: RunFolder) -> None:
    assert summary_rows(summarise(run))["smoke test"] == "y for x, 12.5 ms"


def test_the_json_has_what_it_promises(run: RunFolder) -> None:
    answer = summary_json(summarise(run))
    assert {"run_id", "test_accuracy", "test_images", "classes", "endpoint", "function", "report"} <= set(answer)
    assert (answer["classes"], answer["test_images"], answer["loadtest"]) == (2, 41, None)


@pytest.mark.parametrize(("now", "is_kept"), [("2026-01-01", True), ("2026-01-02", False)])
def test_a_load_test_of_an_endpoint_that_was_made_anew_is_not_this_ones(
    run: RunFolder, now: str, is_kept: bool
) -> None:
    (run.folder / "loadtest.json").write_text("{}")
    run.keep(LoadTestIdentity("c", "4", "00", 10.0, 10.0, "2026-01-01"))
    forget_load_test_of_other_deployment(run, LoadTestIdentity("c", "4", "00", 20.0, 5.0, now))
    assert (run.folder / "loadtest.json").exists() is is_kept


def test_the_report_has_plan_verdicts_and_picture_of_a_checked_load_test(run: RunFolder) -> None:
    plan = scaling_plan()
    choice, predicted = plan.predictions["throttled_at_spike"]
    verdict = judge_prediction(choice, predicted, ObservedValue(0.4, "counted", 500))
    pictures = {"function": str(run.folder / "loadtest" / "profile.png")}
    kept = ScalingVerdicts(plan, "function", (verdict,), {"function": "no tier throttled"}, 50.0, pictures, "a machine")
    run.keep(kept)
    summary = summarise(run)
    text = summary_markdown(summary)
    for part in (
        "## Scaling: plan and verdicts",
        "| **FAIL** | reserved_",
        "40.00%",
    ):
        assert part in text
    assert "![profile, function](loadtest/profile.png)" in text and plan.markdown() in text
    assert "of 1 verdicts" in summary_rows(summary)["scaling"]
    scaling = summary_json(summary)["scaling"]
    assert isinstance(scaling, dict) and scaling["passed"] is False


def test_an_inconclusive_load_test_asks_for_the_same_command_because_the_traffic_is_the_users() -> None:
    plan = scaling_plan()
    choice, predicted = plan.predictions["throttled_at_spike"]
    verdict = judge_prediction(choice, predicted, ObservedValue(None, "too few requests", lacks_samples=True))
    with pytest.raises(Inconclusive, match="too few requests") as caught:
        raise_unless_passed(ScalingVerdicts(plan, "function", (verdict,), {}, 50.0, {}, "a machine"), "dogs-1a2b3c4d")
    assert caught.value.next_command == (
        "run the same command again on a quieter machine, or with another rate; --no-remeasure keeps the ladder; "
        "see runs/dogs-1a2b3c4d/report.html"
    )


def test_every_file_that_the_report_names_is_found_after_the_folder_was_moved(run: RunFolder, tmp_path: Path) -> None:
    keep_files(run)
    path = write_page(summarise(run))
    moved = run.folder.rename(tmp_path / "elsewhere")
    text = (moved / path.name).read_text()
    named = re.findall(r'href="([^"#]+)"', text)
    assert {
        "loadtest/report.html",
        "TrainedModels/sagemaker/model.tar.gz",
        "TrainedModels/sagemaker/training.log",
    } <= set(named)
    assert [name for name in named if not (moved / name).is_file()] == []
    assert str(run.folder) not in text and "s3://b/model.tar.gz" in text


def keep_files(run: RunFolder) -> None:
    """Save the records of a load test and a training."""
    names = {name: str(run.folder / "loadtest" / file) for name, file in FILES.items()}
    run.keep(dataclasses.replace(LOAD, files=names))
    folder = run.folder / "TrainedModels" / "sagemaker"
    kept = DownloadedTraining(
        "job-1", "2026-01-01", "s3://b/model.tar.gz", "e", sha256(b"12345").hexdigest(), 5, {}, {}, 2
    )
    run.keep(kept)
    for path in (folder / "model.tar.gz", folder / "training.log", *map(Path, names.values())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def test_a_load_test_with_failures_is_told_by_its_counts_and_not_called_valid() -> None:
    line = load_text(LOAD)
    assert "1,608 sent at 29.7/s of 29.7/s, 1,102 answered, 506 failed; of the answered: p50 67.0 ms" in line
    assert line.endswith("; the generator kept up") and not re.search(r"\bvalid\b", line)


def test_a_void_run_says_that_the_generator_did_not_keep_up() -> None:
    line = load_text(dataclasses.replace(LOAD, is_valid=False, why_invalid="it was 95% busy"))
    assert line.endswith("; void, the generator did not keep up: it was 95% busy")
