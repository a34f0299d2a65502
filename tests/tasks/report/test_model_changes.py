"""The report's sections about what may replace an endpoint's model."""

import dataclasses
from pathlib import Path

import pytest

from tasks.page.page import write_page
from tasks.report.markdown import markdown_sections
from tasks.report.model_changes import DRIFT, RETRAINING
from tasks.report.summary import summarise
from tasks.run.handle import RunFolder
from tests.tasks.report import changes
from tests.tasks.report.test_report import RECORDS


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """An endpoint's run with every record of a change, and the decision about its challenger in that one's run."""
    made = RunFolder(tmp_path / "dogs-1a2b3c4d")
    told = (changes.RETRAINING, changes.RELEASES, changes.PROMOTION, changes.AGREEMENT, changes.CANARY, changes.DRIFT)
    for record in (*RECORDS, *told):
        made.keep(record)
    RunFolder(tmp_path / changes.RETRAINING.challenger).keep(changes.DECISION)
    return made


def test_a_promoted_challenger_is_shown_with_the_gates_numbers_and_how_it_went_live(run: RunFolder) -> None:
    text = "\n".join(markdown_sections(summarise(run))[RETRAINING])

    for told in (
        "The endpoint serves version 2 of kennel-dogs.",
        "run `dogs-9z8y7x6w`",
        "better; may be promoted",
        "252",
        "0.8714",
        "+0.0352 to +0.1081",
        "21 the new, 3 the serving",
        "copies of 240 requests: **agree**",
        "1 of 3 instances first: **promoted**",
        "after version 1, 2026-11-28 03:00 UTC: **live**: no alarm rang; version 2 answered 39 of 400 photos",
    ):
        assert told in text


def test_a_rule_that_was_not_kept_is_told_as_such(run: RunFolder) -> None:
    refused = dataclasses.replace(changes.DECISION, broken=changes.DECISION.rules, may_be_promoted=False)
    RunFolder(run.folder.with_name(changes.RETRAINING.challenger)).keep(refused)

    text = "\n".join(markdown_sections(summarise(run))[RETRAINING])

    assert "may not be promoted" in text and "| not kept | class x: 0.01 lost, at most 0.05 |" in text


def test_in_the_challengers_own_run_its_decision_is_shown(run: RunFolder) -> None:
    own = RunFolder(run.folder.with_name(changes.RETRAINING.challenger))

    assert "better; may be promoted" in "\n".join(markdown_sections(summarise(own))[RETRAINING])


def test_drift_is_shown_with_what_was_compared(run: RunFolder) -> None:
    text = "\n".join(markdown_sections(summarise(run))[DRIFT])

    assert "300 distinct photos of 900 kept requests" in text and "0.001" in text


def test_a_run_whose_model_never_changed_has_neither_section(tmp_path: Path) -> None:
    made = RunFolder(tmp_path / "dogs-1")
    for record in RECORDS:
        made.keep(record)

    assert not {RETRAINING, DRIFT} & set(markdown_sections(summarise(made)))


def test_the_page_has_both_sections(run: RunFolder) -> None:
    html = write_page(summarise(run)).read_text()

    assert 'id="retraining-and-promotion"' in html and 'id="drift"' in html


def test_a_challenger_that_is_no_run_is_not_looked_for(run: RunFolder) -> None:
    run.keep(dataclasses.replace(changes.RETRAINING, challenger="../dogs-9z8y7x6w"))

    assert summarise(run).changes.decision is None
