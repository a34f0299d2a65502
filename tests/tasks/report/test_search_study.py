"""Tests the study of a search: importances that are right for a known loss, a picture of what was found, and notes."""

import dataclasses
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tasks.report.importance import LEAST_TRIALS, importances_of
from tasks.report.markdown import summary_markdown
from tasks.report.search_axes import Axis
from tasks.report.search_picture import draw_search
from tasks.report.search_study import SearchStudy, study_search
from tasks.report.summary import summarise
from tasks.run.artifacts import embed_pictures
from tasks.run.handle import RunFolder
from tasks.run.trials import Search, Trial
from tests.conftest import ROOT
from tests.hostile import BIDI, harmful_in
from tests.tasks.report.test_report import MODEL

SPACE = {
    "learning_rate": '{"low": 0.0001, "high": 0.01, "scale": "log"}',
    "dropout": '{"low": 0.0, "high": 0.7, "scale": "linear"}',
    "batch_size": '{"choices": [128, 256]}',
}


def by_learning_rate(parameters: dict[str, float]) -> float:
    return 1 + (math.log10(parameters["learning_rate"]) + 3) ** 2


def search(trials: int, loss: Callable[[dict[str, float]], float], space: dict[str, str] = SPACE) -> Search:
    """A search over random values, of which each fifth was cut and each seventh failed; number 0 is outside."""
    drawn = random.Random(5)
    made = [Trial(number=0, parameters={"learning_rate": 1e-3, "dropout": 0.5, "batch_size": 32}, **ended(3.0))]
    for number in range(1, trials + 1):
        parameters = {
            "learning_rate": 10 ** drawn.uniform(-4, -2),
            "dropout": drawn.uniform(0, 0.7),
            "batch_size": drawn.choice((128.0, 256.0)),
        }
        state = "pruned" if number % 5 == 0 else "failed" if number % 7 == 0 else "complete"
        made.append(Trial(number=number, parameters=parameters, **ended(loss(parameters), state)))
    winner = min((each for each in made if each.state == "complete"), key=lambda each: each.loss or math.inf).number
    found = Search(
        objective="o", space=space, seed=3, winner=winner, against_default=None, trials=tuple(made), seconds=2.0
    )
    assert found.best.number == winner
    return found


def ended(loss: float, state: str = "complete") -> dict[str, Any]:
    has_loss = state != "failed"
    losses = {"complete": (loss + 1, loss), "pruned": (loss + 1,), "failed": ()}[state]
    found = {"losses": losses, "loss": losses[-1] if has_loss else None}
    return {"state": state, "accuracy": 0.5 if has_loss else None, "images": 23, "seconds": 0.1, **found}


def test_what_decides_the_loss_has_the_greatest_importance_and_the_rest_hardly_any() -> None:
    found = importances_of(search(40, by_learning_rate))
    first, *others = found.shares
    assert first.name == "learning_rate"
    assert first.low <= first.share <= first.high and first.low > 0.6
    assert all(each.share < 0.15 for each in others)
    assert found == importances_of(search(40, by_learning_rate)), "the same search has the same importances"


def test_a_choice_that_decides_the_loss_is_found_as_well() -> None:
    first, *_ = importances_of(search(40, lambda values: values["batch_size"])).shares
    assert first.name == "batch_size" and first.share > 0.9


def test_too_few_trials_have_no_importances() -> None:
    found = importances_of(search(10, by_learning_rate))
    assert found.shares == () and found.trials == 9 < LEAST_TRIALS
    assert found.why_none == "not enough trials: 9 have a loss and lie within the space, and 10 are needed"


def test_trials_of_one_loss_have_no_importances() -> None:
    assert importances_of(search(40, lambda _: 1.0)).why_none == "the trials do not differ in their loss"


def test_where_few_are_complete_those_that_were_cut_are_compared_after_as_many_epochs() -> None:
    """Of 12 trials 9 are complete after two epochs, and two were cut after one: so the first epoch's losses count."""
    cut = importances_of(search(12, by_learning_rate))
    assert (cut.trials, cut.epochs, cut.shares[0].name) == (11, 1, "learning_rate")
    enough = importances_of(search(40, by_learning_rate))
    assert (enough.trials, enough.epochs) == (28, 2), "all complete trials, and none that was cut"


@pytest.mark.parametrize(
    ("bounds", "value", "place", "ends"),
    [
        (SPACE["learning_rate"], 1e-3, -3.0, (-4.0, -2.0)),
        (SPACE["dropout"], 0.5, 0.5, (0.0, 0.7)),
        ('{"choices": [256, 64, 128]}', 128.0, 1.0, (-0.5, 2.5)),
    ],
)
def test_a_value_lies_where_the_search_draws_evenly(
    bounds: str, value: float, place: float, ends: tuple[float, float]
) -> None:
    axis = Axis.of("x", bounds)
    assert axis.place(value) == pytest.approx(place) and axis.ends == pytest.approx(ends)
    assert axis.holds(value) and not axis.holds(1e9)


def test_the_picture_shows_trials_importances_and_a_slice_of_each_hyperparameter(tmp_path: Path) -> None:
    found = search(40, by_learning_rate)
    path = draw_search(found, importances_of(found), tmp_path)
    assert path.stat().st_size > 20_000
    svg = path.with_suffix(".svg").read_text()
    shares = "fANOVA of 28 trials by their lowest loss in 2 epochs"
    for text in ("40 trials, 8 cut, 4 failed", "best so far", "winner: ", "default: 3", shares):
        assert text in svg
    assert "mathdefault" not in svg, "a formula would be drawn as its text"
    for name in SPACE:
        assert svg.count(f"<!-- {name} -->") == 2, "an axis and a bar"


def test_losses_of_several_sizes_have_a_logarithmic_scale_with_plain_numbers(tmp_path: Path) -> None:
    found = search(12, lambda values: 10 ** (10 * values["dropout"]))
    svg = draw_search(found, importances_of(found), tmp_path).with_suffix(".svg").read_text()
    assert "mathdefault" not in svg and "<!-- 1000 -->" in svg


def test_the_picture_of_few_trials_says_why_it_has_no_importances(tmp_path: Path) -> None:
    found = search(2, by_learning_rate)
    assert "not enough trials: 2" in draw_search(found, importances_of(found), tmp_path).with_suffix(".svg").read_text()


def test_the_texts_of_the_picture_are_drawn_as_they_are(tmp_path: Path) -> None:
    hostile = f"$\\frac{{1}}{{$ </text><script>{BIDI}\x1b[2J"
    found = search(12, by_learning_rate)
    trials = tuple(dataclasses.replace(each, parameters={**each.parameters, hostile: 0.5}) for each in found.trials)
    found = dataclasses.replace(found, space={**SPACE, hostile: SPACE["dropout"]}, trials=trials)
    svg = draw_search(found, importances_of(found), tmp_path).with_suffix(".svg").read_text()
    ElementTree.fromstring(svg)
    assert harmful_in(svg) == set() and "<script" not in svg


def test_the_study_is_kept_told_in_the_report_and_embedded_in_the_artifact(tmp_path: Path) -> None:
    run, model = RunFolder(tmp_path / "run"), dataclasses.replace(MODEL, search=search(40, by_learning_rate))
    run.keep(model)
    assert model.search is not None
    study = study_search(run, model, model.search)
    summary = summarise(run)
    assert summary.study == study == run.find(SearchStudy)
    report = summary_markdown(summary)
    assert "![the search](search.png)" in report and "| learning_rate | 0." in report
    assert "](data:image/png;base64," in embed_pictures(report, run.folder)


def test_a_study_is_made_once_for_a_job_and_is_not_told_of_another(tmp_path: Path) -> None:
    run, model = RunFolder(tmp_path / "run"), dataclasses.replace(MODEL, search=search(12, by_learning_rate))
    assert model.search is not None
    study_search(run, model, model.search)
    drawn = (run.folder / "search.png").stat().st_mtime_ns
    study_search(run, model, model.search)
    assert (run.folder / "search.png").stat().st_mtime_ns == drawn
    run.keep(dataclasses.replace(model, job_name="another"))
    assert summarise(run).study is None


def test_a_space_that_no_search_has_is_a_note_in_the_place_of_importances_and_picture(tmp_path: Path) -> None:
    hostile = search(12, by_learning_rate, {"learning_rate": "[1]"})
    study = study_search(RunFolder(tmp_path / "run"), MODEL, hostile)
    assert "no run produces" in study.importances.why_none
    assert study.note.startswith("there is no picture of the search: ") and study.picture == ""


def test_without_matplotlib_the_figures_stand_and_a_note_is_in_the_pictures_place(tmp_path: Path) -> None:
    program = """
import sys, types
sys.modules["tests"] = types.ModuleType("tests")  # an installed package of this name would be found first
sys.modules["tests"].__path__ = ["tests"]
sys.modules["matplotlib"] = None
from pathlib import Path
from tasks.report.search_study import study_search
from tasks.run.handle import RunFolder
from tests.tasks.report.test_report import MODEL
from tests.tasks.report.test_search_study import by_learning_rate, search
study_search(RunFolder(Path(sys.argv[1])), MODEL, search(40, by_learning_rate))
"""
    run = RunFolder(tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-c", program, str(run.folder)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept = run.find(SearchStudy)
    assert kept is not None and kept.picture == "" and len(kept.importances.shares) == 3
    assert kept.note.startswith("there is no picture of the search: ")
