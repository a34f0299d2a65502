"""The report says what the records say."""

from pathlib import Path

import pytest

from tasks.checked_load import ScalingVerdicts
from tasks.errors import SettingsRefused
from tasks.observed import Observed
from tasks.records import DatasetRef, EndpointRef, FunctionRef, TrainedModel, save_record
from tasks.report import (
    LoadTested,
    StageTimes,
    accuracy_interval,
    forget_load_test_of_another,
    summarise,
    summary_rows,
    write_report,
)
from tasks.smoke import SmokeResult
from tasks.verdicts import judge_prediction
from tests.tasks.deployments import plan as scaling_plan

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
RECORDS = {
    "stage_data": DATA,
    "train_sagemaker": MODEL,
    "endpoint": EndpointRef("e", "arn:e", "c", "m", "primary", "ml.m5.large", 1, "s3://b/model.tar.gz", 2.3),
    "function": FunctionRef("f", "arn:f", "4", "live", "arn:f:live", "role", "arn:role", "00", "e"),
    "smoke": SmokeResult("00000/00000000.jpg", "x", "y", 0.61, 2, 12.5),
    "pipeline": StageTimes({"stage_data": 1.25, "train_sagemaker": 61.6}, "AWS, us-east-1"),
}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    for stage, record in RECORDS.items():
        save_record(tmp_path / "dogs-1", stage, record)
    return tmp_path / "dogs-1"


def test_the_interval_is_wilsons() -> None:
    # 38 of 41: Wilson's formula by hand gives 0.806 to 0.975
    assert accuracy_interval(38 / 41, 41) == pytest.approx((0.806, 0.975), abs=1e-3)
    assert accuracy_interval(1.0, 12)[1] == 1.0


def test_the_report_has_the_records_figures_with_their_n(run_dir: Path) -> None:
    text = write_report(summarise(run_dir)).read_text()
    for figure in (
        "0.9268 on 41 images",
        "2 × ml.m5.xlarge",
        "61.5 s",
        "3 quarantined",
        "version 4",
        "called y",
        "AWS, us-east-1",
        "0.6100",
    ):
        assert figure in text
    assert "None was made" in text


def test_the_summary_says_when_the_smoke_tests_label_was_wrong(run_dir: Path) -> None:
    assert summary_rows(summarise(run_dir))["smoke test"] == "y for x, 12.5 ms"


def test_the_json_has_what_it_promises(run_dir: Path) -> None:
    answer = summarise(run_dir).as_json()
    assert {"run_id", "test_accuracy", "test_images", "classes", "endpoint", "function", "report"} <= set(answer)
    assert (answer["classes"], answer["test_images"], answer["loadtest"]) == (2, 41, None)


@pytest.mark.parametrize(("now", "is_kept"), [("2026-01-01", True), ("2026-01-02", False)])
def test_a_load_test_of_an_endpoint_that_was_made_anew_is_not_this_ones(run_dir: Path, now: str, is_kept: bool) -> None:
    (run_dir / "loadtest.json").write_text("{}")
    save_record(run_dir, "loadtest-of", LoadTested("c", "4", "00", 10.0, 10.0, "2026-01-01"))
    forget_load_test_of_another(run_dir, LoadTested("c", "4", "00", 20.0, 5.0, now))
    assert (run_dir / "loadtest.json").exists() is is_kept


def test_the_report_has_plan_verdicts_and_picture_of_a_checked_load_test(run_dir: Path) -> None:
    plan = scaling_plan()
    choice, predicted = plan.predictions["throttled_at_spike"]
    verdict = judge_prediction(choice, predicted, Observed(0.4, "counted", 500))
    pictures = {"function": "runs/dogs-1/loadtest/profile.png"}
    kept = ScalingVerdicts(plan, "function", (verdict,), {"function": "no tier throttled"}, 50.0, pictures, "a machine")
    save_record(run_dir, "scaling", kept)
    summary = summarise(run_dir)
    text = write_report(summary).read_text()
    for part in (
        "## Scaling: plan and verdicts",
        "**1 of 1 verdicts did not pass**",
        "| **FAIL** | reserved_",
        "40.00%",
    ):
        assert part in text
    assert "![profile, function](runs/dogs-1/loadtest/profile.png)" in text and plan.markdown() in text
    assert "1 of 1 verdicts did not pass" in summary_rows(summary)["scaling"]
    scaling = summary.as_json()["scaling"]
    assert isinstance(scaling, dict) and scaling["passed"] is False


def test_a_missing_record_is_named(run_dir: Path) -> None:
    (run_dir / "function.json").unlink()
    with pytest.raises(SettingsRefused, match="run dogs-1") as caught:
        summarise(run_dir)
    assert "no record of function" in caught.value.why
