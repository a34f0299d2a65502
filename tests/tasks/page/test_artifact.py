"""What Prefect's page shows of a run: its summary, what the model confuses, and the photos of that."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tasks.page.artifact import artifact_markdown
from tasks.report.markdown import summary_markdown
from tasks.report.summary import summarise
from tasks.run.handle import RunFolder
from tests.hostile import CORPUS
from tests.tasks.page.evaluations import evaluation, write_photos
from tests.tasks.report.test_report import RECORDS


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with every record of a whole way."""
    made = RunFolder(tmp_path / "runs" / "dogs-1a2b3c4d")
    for record in RECORDS:
        made.keep(record)
    return made


def shown(run: RunFolder) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(artifact_markdown(summarise(run))))


def test_the_photos_that_were_hard_are_in_the_artifact_itself(run: RunFolder) -> None:
    run.keep(evaluation(["x", "y"]))
    write_photos(run.folder, 3)

    html = shown(run).partition("What it confuses")[2]

    assert len(re.findall(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+"', html)) == 3
    assert "x, taken for y (0.90 against 0.01)" in html


def test_a_photo_that_is_missing_is_told_without_a_picture(run: RunFolder) -> None:
    run.keep(evaluation(["x", "y"]))
    html = shown(run).partition("What it confuses")[2]
    assert "<img" not in html and "taken for" in html


def test_a_run_without_an_evaluation_has_the_summary_alone(run: RunFolder) -> None:
    assert artifact_markdown(summarise(run)) == summary_markdown(summarise(run))


@pytest.mark.parametrize("name", CORPUS)
def test_names_of_classes_stay_text(run: RunFolder, name: str) -> None:
    run.keep(evaluation([name, "y"]))
    write_photos(run.folder, 3)
    html = shown(run).partition("What it confuses")[2]
    assert set(re.findall(r"<(\w+)", html)) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "img"}
