"""A search in the report: which trial won, and whether it differs from the default at all."""

import dataclasses
from pathlib import Path

import pytest

from tasks.model.search import of_the_winner
from tasks.report.rows import summary_json
from tasks.report.search import search_json, search_markdown, search_rows
from tasks.report.search_cost import SearchCost
from tasks.report.summary import summarise
from tasks.run.handle import RunFolder
from tasks.run.options import Ec2TrainingOptions
from tasks.run.records import TrainedModel
from tasks.run.trials import Difference, Search, Trial
from tests.tasks.report.test_report import MODEL


def trial(number: int, loss: float | None, state: str = "complete") -> Trial:
    return Trial(
        number=number,
        parameters={"dropout": 0.1 * number},
        state=state,  # type: ignore[arg-type]
        losses=() if loss is None else (1.0, loss),
        loss=loss,
        accuracy=None if loss is None else 0.9,
        images=23,
        seconds=0.5,
        reason="it <b>diverged</b>" if loss is None else "",
    )


def search(against: Difference | None, *trials: Trial, winner: int = 1) -> Search:
    space = {"dropout": '{"low": 0.0, "high": 0.7, "scale": "linear"}'}
    return Search(
        objective="validation loss per sample",
        space=space,
        seed=3,
        winner=winner,
        against_default=against,
        trials=trials or (trial(0, 0.5), trial(1, 0.3), trial(2, 0.7, "pruned"), trial(3, None, "failed")),
        seconds=2.0,
    )


def searched(found: Search) -> TrainedModel:
    return dataclasses.replace(MODEL, search=found)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            search(Difference(difference=-0.2, low=-0.3, high=-0.1, images=23)),
            "3 trials (1 cut, 1 failed), 2.0 s; trial 1 has a validation loss lower than the default's by 0.2000 "
            "(95 %: 0.1000 to 0.3000, n = 23 images)",
        ),
        (
            search(Difference(difference=-0.2, low=-0.5, high=0.1, images=23)),
            "3 trials (1 cut, 1 failed), 2.0 s; trial 1 has a validation loss lower than the default's by 0.2000 "
            "(95 %: -0.1000 to 0.5000, n = 23 images), not distinguishable",
        ),
        (search(None), "3 trials (1 cut, 1 failed), 2.0 s; trial 1 won; the default itself failed"),
        (
            search(None, trial(0, 0.2), trial(1, 0.3), winner=0),
            "1 trials (0 cut, 0 failed), 2.0 s; none is better than the default",
        ),
    ],
)
def test_the_row_says_whether_the_winner_differs_from_the_default(found: Search, said: str) -> None:
    assert search_rows(searched(found))["search"] == said


def test_the_section_lists_the_trials_from_the_best_on_and_escapes_reasons() -> None:
    text = "\n".join(search_markdown(searched(search(None)), None))

    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| 1", "| 0", "| 2", "| 3"]
    assert "<b>" not in text
    assert "Its trial had a loss of 0.3000, the model 0.2500." in text
    assert search_markdown(MODEL, None) == [] == search_markdown(None, None)


def test_a_record_without_a_trial_is_a_note_in_the_json_of_a_run(tmp_path: Path) -> None:
    hostile = dataclasses.replace(search(None), trials=())
    run = RunFolder(tmp_path)
    run.keep(dataclasses.replace(MODEL, search=hostile))
    answer = summary_json(summarise(run))["search"]
    assert isinstance(answer, dict) and "no run produces" in answer["note"]


def test_the_json_has_the_winners_parameters() -> None:
    content = search_json(searched(search(None)), None)
    assert content is not None
    assert (content["trials"], content["winner"], content["parameters"]) == (3, 1, {"dropout": 0.1})
    assert content["importances"] is None and content["picture"] is None
    assert search_json(MODEL, None) is None is search_json(None, None)


def test_a_job_a_trial_would_be_billed_the_jobs_time_without_its_search() -> None:
    model = dataclasses.replace(searched(search(None)), billable_seconds=62.0, cost_usd=0.62)
    cost = SearchCost.of(model, search(None))
    assert (cost.jobs, cost.jobs_billed_seconds) == (3, 180.0)
    assert cost.jobs_usd == pytest.approx(1.8)
    assert cost.text == (
        "one job: 62 s billed, 2.0 of them for the search, 0.6200 USD; "
        "a job a trial: 180 s in 3 jobs, 1.8000 USD, an estimate"
    )


def test_what_sagemakers_tuner_was_billed_is_told_beside_the_training() -> None:
    model = dataclasses.replace(
        searched(search(None)), billable_seconds=60.0, cost_usd=0.6, instance_count=2, search_billable_seconds=90.0
    )
    cost = SearchCost.of(model, search(None))
    assert cost.jobs == 4 and cost.jobs_usd == pytest.approx(0.45)
    assert cost.text == (
        "SageMaker's tuner: 90 s billed in 4 jobs, 0.4500 USD; the training after it: 60 s, 0.6000 USD"
    )


def test_a_cost_at_an_unknown_price_has_no_amount() -> None:
    model = dataclasses.replace(searched(search(None)), cost_usd=None)
    cost = SearchCost.of(model, search(None))
    assert cost.usd is None and cost.jobs_usd is None
    assert cost.text.count("at an unknown price") == 2
    assert "The price is unknown." in "\n".join(search_markdown(model, None))


def test_a_training_beside_a_search_takes_the_winner_and_does_not_search_again() -> None:
    options = Ec2TrainingOptions(backbone="resnet50", trials=3, search_space='{"dropout": {"low": 0.0, "high": 0.7}}')
    taken = of_the_winner(options, search(None))
    assert (taken.dropout, taken.trials, taken.search_space, taken.backbone) == (0.1, None, None, "resnet50")
    assert of_the_winner(options, None) is options
    unknown = dataclasses.replace(trial(1, 0.3), parameters={"finetune_epochs": 3.0})
    assert of_the_winner(options, search(None, trial(0, 0.5), unknown)) is options, "no option takes the value"
