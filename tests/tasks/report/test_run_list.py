"""Runs side by side: each order, what a run lacks, and a record that cannot be read."""

import dataclasses
import os
from pathlib import Path

import pytest

from tasks.report.run_list import HEAD, ListedRun, Order, list_runs
from tasks.run.handle import RunFolder
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.verdicts import judge_prediction
from tests.tasks.report.test_report import LOAD, MODEL
from tests.tasks.scaling.deployments import plan as scaling_plan

FIGURES = {  # accuracy, images, seconds, dollars, p95; the smaller test set makes the best accuracy the least sure
    "first": (0.90, 1000, 60.0, 0.003, 90.0),
    "second": (0.95, 20, 30.0, 0.009, 80.0),
    "third": (0.80, 1000, 90.0, None, None),
}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for age, (name, (accuracy, images, seconds, dollars, p95)) in enumerate(FIGURES.items()):
        run = RunFolder(tmp_path / name)
        run.keep(
            dataclasses.replace(MODEL, test_accuracy=accuracy, test_images=images, seconds=seconds, cost_usd=dollars)
        )
        if p95 is not None:
            run.keep(dataclasses.replace(LOAD, p95_ms=p95))
        for path in run.folder.iterdir():
            os.utime(path, (1e9 + age, 1e9 + age))
    return [tmp_path / name for name in FIGURES]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("date", ["third", "second", "first"]),
        ("accuracy", ["second", "first", "third"]),
        ("low", ["first", "third", "second"]),
        ("seconds", ["second", "first", "third"]),
        ("cost", ["first", "second", "third"]),
        ("p95", ["second", "first", "third"]),
    ],
)
def test_the_best_comes_first_and_what_is_not_known_last(folders: list[Path], order: Order, names: list[str]) -> None:
    assert [run.run_id for run in list_runs(folders, order)] == names


def test_a_row_has_the_figures_of_the_records(folders: list[Path]) -> None:
    (run,) = list_runs(folders[:1], "date")
    assert run.cells == ("first", "2001-09-09", "0.900 (0.88 to 0.92)", "60", "0.0030", "90", "")
    assert len(run.cells) == len(HEAD)
    assert (run.data, run.notes) == (None, ()), "no data was staged, and that is no damage"


def test_a_checked_plans_latency_and_verdicts_are_those_shown(tmp_path: Path) -> None:
    plan = scaling_plan()
    choice, predicted = plan.predictions["throttled_at_spike"]
    verdicts = tuple(
        judge_prediction(choice, predicted, ObservedValue(value, "counted", count))
        for value, count in ((0.0, 1000), (1e9, 1000))
    )
    reports = {"function": dataclasses.replace(LOAD, p95_ms=70.0), "endpoint": dataclasses.replace(LOAD, p95_ms=60.0)}
    RunFolder(tmp_path).keep(ScalingVerdicts(plan, "function", verdicts, {}, 50.0, {}, "a machine", reports))
    (run,) = list_runs([tmp_path], "date")
    assert run.p95_ms == 70.0 and run.verdicts is not None and sum(run.verdicts.values()) == 2
    assert run.cells[-1] == f"{run.verdicts['passed']}/2" and run.verdicts["failed"] == 1


def test_a_run_without_records_and_one_with_a_damaged_record_are_listed(tmp_path: Path, folders: list[Path]) -> None:
    empty, damaged = tmp_path / "empty", folders[0]
    empty.mkdir()
    (damaged / "train_sagemaker.json").write_text("{")
    listed: dict[str, ListedRun] = {run.run_id: run for run in list_runs([empty, damaged, folders[1]], "accuracy")}
    assert list(listed) == ["second", "empty", "first"]
    assert listed["empty"].cells[2:] == ("",) * 5 and listed["empty"].notes == ()
    (note,) = listed["first"].notes
    assert note.startswith("train_sagemaker.json cannot be read: ") and listed["first"].accuracy is None
