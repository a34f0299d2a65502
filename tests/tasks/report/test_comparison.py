"""Two runs side by side, from their records and from what their models said of the same photos."""

import dataclasses
import json
from pathlib import Path

import pytest

from tasks.evaluation.predictions import Predictions
from tasks.evaluation.record import Evaluation
from tasks.report.comparison import compare_runs, comparison_json
from tasks.run.handle import RunFolder
from tasks.run.records import EndpointRef, TrainedModel
from tests.tasks.evaluation.predicted import predictions, stored
from tests.tasks.page.evaluations import evaluation
from tests.tasks.report.test_report import DATA, MODEL, RECORDS

LABELS = [0] * 20 + [1] * 21  # as the test split of DATA


def said(right: int) -> Predictions:
    """Return what a model says that has so many photos right, the last ones wrong."""
    taken = [label if number < right else 1 - label for number, label in enumerate(LABELS)]
    return predictions(LABELS, [[0.75, 0.25] if each == 0 else [0.25, 0.75] for each in taken])


def make_run(folder: Path, right: int, **settings: str) -> RunFolder:
    run = RunFolder(folder)
    for record in RECORDS:
        run.keep(record)
    found = dataclasses.replace(
        evaluation(["x", "y"]),
        images=41,
        right=right,
        model_uri=MODEL.model_uri,
        data_digest=DATA.digest,
        settings={"epochs": "30", **settings},
    )
    run.keep(found)
    (run.folder / found.folder / "predictions.safetensors").write_bytes(stored(said(right)))
    return run


def test_what_was_given_otherwise_and_the_same_photos_are_compared(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a", 38), make_run(tmp_path / "b", 30, epochs="2")
    second.keep(dataclasses.replace(MODEL, test_accuracy=30 / 41, spot=True, cost_usd=None))

    found = compare_runs(first, second)

    assert {(row.what, row.first, row.second) for row in found.settings} == {
        ("epochs", "30", "2"),
        ("training", "2 × ml.m5.xlarge", "2 × ml.m5.xlarge, spot"),
    }
    assert found.verdict.startswith("On the same 41 photos b differs by -0.1951 (95 %: ")
    assert "0 photos only b has right, 8 only a; p = 0.00781 (two-sided). b: worse. 41 photos show" in found.verdict
    assert "It would be refused all the same: accuracy lost by class y 0.381, allowed 0.2" in found.verdict
    figures = {row.what: (row.first, row.second) for row in found.figures}
    assert figures["training cost"] == ("0.0077 USD", "")
    assert figures["test accuracy"][1].startswith("0.7317 on 41 images")
    printed = json.loads(json.dumps(comparison_json(found)))
    assert (printed["paired"]["only_first"], printed["paired"]["only_second"]) == (8, 0)


def test_a_run_compared_with_its_like_differs_in_nothing(tmp_path: Path) -> None:
    found = compare_runs(make_run(tmp_path / "a", 38), make_run(tmp_path / "b", 38))

    assert found.settings == () and found.notes == ()
    alike = "On the same 41 photos both models are right about the same ones"
    assert found.verdict.startswith(f"{alike}. b: not enough photos. 41 photos show a gain of 0.02 in ")


@pytest.mark.parametrize("damage", ["no evaluation", "other data", "cut", "others than evaluated", "no model"])
def test_what_cannot_be_compared_photo_by_photo_is_said(tmp_path: Path, damage: str) -> None:
    first, second = make_run(tmp_path / "a", 38), make_run(tmp_path / "b", 30)
    kept = second.find(Evaluation, trained_on="sagemaker")
    assert kept is not None
    path = second.folder / kept.folder / "predictions.safetensors"
    if damage == "no evaluation":
        second.path(Evaluation, trained_on="sagemaker").unlink()
    elif damage == "other data":
        second.keep(dataclasses.replace(DATA, digest="other"))
        second.keep(dataclasses.replace(kept, data_digest="other"))
        second.keep(dataclasses.replace(MODEL, data_digest="other"))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "others than evaluated":
        path.write_bytes(stored(said(31)))
    else:
        second.forget(TrainedModel, EndpointRef)
        path.unlink()

    found = compare_runs(first, second)

    why = {
        "no evaluation": "of b there is no evaluation: its training kept no predictions",
        "other data": "they were trained and tested on different data",
        "cut": "is not usable",
        "others than evaluated": "they are not those that were evaluated",
        "no model": "of b there is no evaluation: the evaluation that is kept is of another model",
    }[damage]
    assert found.decision is None and "cannot be compared photo by photo: " in found.verdict and why in found.verdict
    assert comparison_json(found)["paired"] is None
