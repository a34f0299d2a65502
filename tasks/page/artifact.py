"""Writes what Prefect's page shows of a run: the summary in Markdown, what the model confuses, and photos of that."""

from __future__ import annotations

from pathlib import Path

from tasks.evaluation.kept import evaluation_of
from tasks.evaluation.record import Evaluation, HardPhoto
from tasks.page.pictures import thumbnail_uri
from tasks.report.markdown import summary_markdown
from tasks.report.notes import made_or_note
from tasks.report.summary import RunSummary
from tasks.run.escaping import markdown_link, markdown_table, markdown_text
from tasks.run.handle import RunFolder

MOST_PAIRS = 10
MOST_PHOTOS = 8


def artifact_markdown(summary: RunSummary) -> str:
    """Return a run's summary with the worst mistakes; their photos are `data:` URIs, because Prefect reads no files."""
    run = RunFolder(Path(summary.report).parent)
    evaluation, _ = evaluation_of(run, summary.model)
    if evaluation is None or not evaluation.hard:
        return summary_markdown(summary)
    lines = made_or_note(lambda: _mistakes(evaluation, run.folder), lambda why: [markdown_text(f"{why}.")])
    return "\n".join([summary_markdown(summary), "## What it confuses", "", *lines, ""])


def _mistakes(evaluation: Evaluation, folder: Path) -> list[str]:
    pairs = [
        (markdown_text(each.true), markdown_text(each.predicted), str(each.images))
        for each in evaluation.confusions[:MOST_PAIRS]
    ]
    photos = [line for each in evaluation.hard[:MOST_PHOTOS] for line in _photo(folder, each)]
    return [*markdown_table(("photos of", "taken for", "photos"), pairs), "", *photos]


def _photo(folder: Path, each: HardPhoto) -> list[str]:
    scores = f"({each.predicted_score:.2f} against {each.true_score:.2f})"
    told = f"{markdown_text(each.true)}, taken for {markdown_text(each.predicted)} {scores}"
    uri = thumbnail_uri(folder / each.file) if each.file else None
    return [*([f"!{markdown_link(f'a photo of {each.true}', uri)}", ""] if uri else []), told, ""]
