"""Writes `runs/<id>/report.html`: everything that a run's records say, in one file that needs nothing else.

It has no script and asks for nothing, so it can be mailed, moved and opened offline. A section whose record is missing
is left out; one whose record holds what cannot be shown has a note in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup, escape

from tasks.evaluation.kept import evaluation_of
from tasks.evidence.record import Evidence
from tasks.page import sections as of
from tasks.page.headline import Headline, headline
from tasks.page.rendering import markdown_html, rendered, style
from tasks.report.markdown import markdown_sections
from tasks.report.model_changes import DRIFT, RETRAINING
from tasks.report.notes import made_or_note
from tasks.report.running_cost import LiveResources, live_by_kind
from tasks.report.summary import RunSummary
from tasks.run.artifacts import embed_pictures
from tasks.run.errors import LedgerRefused
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerHeader, LedgerRow, read_ledger
from tasks.run.record_store import write_atomically

_WRITTEN_OUT = (
    "Downloaded files",
    "Training on EC2 over SSH",
    "Deployment",
    "Load test",
    "Search for hyperparameters",
    RETRAINING,
    DRIFT,
    "Permissions",
    "Audit",
)
"""Sections whose words are those of the Markdown report."""


@dataclass(frozen=True)
class Section:
    """A section of the page: what it is called, and its HTML."""

    title: str
    body: Markup

    @property
    def anchor(self) -> str:
        """The fragment of its address."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def write_page(summary: RunSummary) -> Path:
    """Write runs/<id>/report.html from whatever records there are, and return its path.

    Raises:
        DiskFailed: the page cannot be written.
    """
    run = RunFolder(Path(summary.report).parent)
    ledger = _ledger(run)
    alive = made_or_note(lambda: _alive(run, ledger), lambda _: None)
    html = rendered(
        "page.html.j2",
        run_id=summary.run_id,
        subtitle=_subtitle(summary),
        headline=made_or_note(lambda: headline(summary, alive), lambda why: Headline((), (why,), ())),
        sections=_sections(summary, run, ledger, alive),
        style=style(),
    )
    write_atomically(Path(summary.report), html.encode())
    return Path(summary.report)


def _subtitle(summary: RunSummary) -> str:
    parts = [
        summary.dataset and f"{summary.dataset.images():,} photos of {len(summary.dataset.classes)} classes",
        summary.model and summary.model.backbone,
        summary.times and summary.times.where,
    ]
    return ", ".join(part for part in parts if part)


def _sections(
    summary: RunSummary, run: RunFolder, ledger: _Ledger | None, alive: Sequence[LiveResources] | None
) -> list[Section]:
    """Return the sections that have something to show, in the order of the page."""
    evaluation, why = evaluation_of(run, summary.model)
    written = markdown_sections(summary)
    best = None if summary.model is None else summary.model.metrics.get("best_epoch")
    makers: dict[str, Callable[[], Markup | None]] = {
        "Cost": lambda: of.cost(summary, alive),
        "Stages": lambda: of.pipeline(summary),
        "Data": lambda: of.data(summary.dataset),
        "Learning curve": lambda: of.curve(evaluation, best),
        "How good it is": lambda: of.accuracy(summary.model, evaluation, why),
        "The worst mistakes": lambda: of.mistakes(evaluation, run.folder),
        "Scaling and concurrency": lambda: of.scaling(summary.scaling, run),
        **{title: partial(_from_markdown, written.get(title, []), run.folder) for title in _WRITTEN_OUT},
        "What the run made": lambda: of.resources(summary, ledger[1] if ledger else []),
        "Evidence": lambda: of.evidence(run.find(Evidence)),
        "Provenance": lambda: of.provenance(summary, evaluation),
    }
    made = {title: made_or_note(make, _note) for title, make in makers.items()}
    return [Section(title, body) for title, body in made.items() if body]


def _from_markdown(lines: list[str], folder: Path) -> Markup | None:
    body = [line for line in lines if line and not line.startswith("# ")]
    return markdown_html(embed_pictures("\n".join(lines[1:]), folder).splitlines()) if body else None


def _note(why: str) -> Markup:
    return escape(f"{why}.")


_Ledger = tuple[LedgerHeader | None, list[LedgerRow]]


def _ledger(run: RunFolder) -> _Ledger | None:
    """Return the run's ledger; None when it is damaged, so that nobody knows what exists."""
    try:
        return read_ledger(run.folder)
    except LedgerRefused:
        return None


def _alive(run: RunFolder, ledger: _Ledger | None) -> list[LiveResources] | None:
    if ledger is None:
        return None
    header, rows = ledger
    return live_by_kind(run, header.region, [row for row in rows if row.is_live]) if header else []
