"""Writes a run's summary in Markdown, which Prefect's page shows and from which the run's own page takes sections.

Every figure has its unit. A figure that a record lacks is left out. Paths in the report are relative to it. Text of
others (names, answers of AWS) is escaped here, where it becomes Markdown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.account.prices import PRICES_SOURCE
from tasks.audit.report import audit_markdown
from tasks.data.report import findings_markdown
from tasks.load.report import load_text
from tasks.report.model_changes import DRIFT, RETRAINING, drift_section, retraining_markdown
from tasks.report.notes import made_or_note
from tasks.report.parity import Parity, ParityRow
from tasks.report.permissions import permissions_markdown
from tasks.report.rows import summary_rows
from tasks.report.search import search_markdown
from tasks.report.summary import RunSummary
from tasks.run.escaping import code_span, link_target, markdown_link, markdown_table, markdown_text
from tasks.run.handle import RunFolder
from tasks.run.records import (
    SPLITS,
    DatasetRef,
    InstanceModel,
    LoadReport,
    TrainedModel,
)
from tasks.sagemaker.download import download_markdown
from tasks.verdicts.report import scaling_markdown

NO_LOAD_TEST = "There is no load test: it was switched off (`--no-loadtest`), or it failed without a result."


def summary_markdown(summary: RunSummary) -> str:
    """Return the report of a run for Prefect's page, from whatever records there are.

    A section whose record is missing is left out and has a note, and so has one whose record holds values that cannot
    be shown.
    """
    sections = [*_top(summary), *(line for lines in markdown_sections(summary).values() for line in lines)]
    return "\n".join(sections) + "\n"


def _top(summary: RunSummary) -> list[str]:
    rows = {name: value for name, value in summary_rows(summary).items() if name != "report"}
    return [
        f"# Run {markdown_text(summary.run_id)}",
        "",
        "Every figure comes from the JSON files in the folder of this report.",
        "",
        *markdown_table(("", ""), [(markdown_text(name), markdown_text(value)) for name, value in rows.items()]),
        "",
    ]


def markdown_sections(summary: RunSummary) -> dict[str, list[str]]:
    """Return the lines of each section by its title, with paths relative to the run's folder."""
    folder = Path(summary.report).parent
    made: dict[str, Callable[[], list[str]]] = {
        "Notes": lambda: _notes_section(summary),
        "Data": lambda: _data_section(summary.dataset),
        "Training": lambda: _training_section(summary.model),
        "Search for hyperparameters": lambda: search_markdown(summary.model, summary.study),
        "Downloaded files": lambda: download_markdown(RunFolder(folder)),
        "Training on EC2 over SSH": lambda: _ec2_section(summary.ec2, summary.parity),
        "Deployment": lambda: _deployment_section(summary),
        "Load test": lambda: _load_section(summary),
        "Scaling": lambda: [] if summary.scaling is None else [scaling_markdown(summary.scaling)],
        RETRAINING: lambda: retraining_markdown(summary.changes),
        DRIFT: lambda: drift_section(summary.changes.drift),
        "Permissions": lambda: permissions_markdown(summary.permissions),
        "Audit": lambda: [] if summary.audit is None else [audit_markdown(summary.audit)],
    }
    written = {title: "\n".join(_section(title, make)) for title, make in made.items()}
    return {title: relative_to_report(text, folder).split("\n") for title, text in written.items() if text}


def _section(title: str, write: Callable[[], list[str]]) -> list[str]:
    """Return the lines of a section; when a value of the records prevents it, a note under its title."""
    return made_or_note(write, lambda why: [f"## {title}", "", f"{markdown_text(why)}.", ""])


def _notes_section(summary: RunSummary) -> list[str]:
    return ["## Notes", "", *(f"- {markdown_text(note)}" for note in summary.notes), ""] if summary.notes else []


def relative_to_report(markdown: str, folder: Path) -> str:
    """Return the Markdown with paths in links and code spans relative to the run's folder, so that it can be moved."""
    for prefix in {str(folder.absolute()), str(folder.resolve()), str(folder)}:
        for opening, path in (("`", prefix), ("](", link_target(prefix))):
            markdown = markdown.replace(f"{opening}{path}/", opening)
    return markdown


def _data_section(data: DatasetRef | None) -> list[str]:
    if data is None:
        return []
    rows = [(split, f"{data.images(split):,}", f"{data.shards.get(split, '')}") for split in SPLITS]
    where = f"{code_span(data.uri)}, digest {code_span(data.digest)}"
    return [
        "## Data",
        "",
        f"{where}, {data.size_bytes / 1e6:.1f} MB, source: {markdown_text(data.source)}.",
        "",
        *markdown_table(("split", "images", "shards"), rows),
        "",
        *findings_markdown(data),
    ]


def _training_section(model: TrainedModel | None) -> list[str]:
    if model is None:
        return []
    metrics = [(markdown_text(name), f"{value:g}") for name, value in sorted(model.metrics.items())]
    known = None if model.cost_usd is None else f"about {model.cost_usd:.4f} USD ({PRICES_SOURCE})"
    cost = f", {known or 'at a price that is not known'}"
    return [
        "## Training",
        "",
        f"Job {code_span(model.job_name)} on {model.instance_count} × {markdown_text(model.instance_type)}"
        f"{' (spot)' if model.spot else ''}: {markdown_text(model.instance_reason)}.",
        f"{model.seconds:.1f} s from creation to end, {model.billable_seconds:.0f} s billable{cost}.",
        f"Model {code_span(model.model_uri)}, data digest {code_span(model.data_digest)}, "
        f"commit {code_span(model.git_commit or 'unknown')}.",
        "",
        *markdown_table(("metric", "value"), metrics),
        "",
    ]


def _ec2_section(model: InstanceModel | None, parity: Parity | None) -> list[str]:
    if model is None:
        return []
    names = ", ".join(code_span(name) for name in model.instance_ids)
    refused = f" EC2 refused before: {markdown_text('; '.join(model.refused))}." if model.refused else ""
    lines = [
        "## Training on EC2 over SSH",
        "",
        f"Job {code_span(model.name)} on {names}: {markdown_text(model.instance_reason)}.{refused}",
        f"Prices: {markdown_text(model.prices)}.",
        f"Model {code_span(model.model_uri)}, sha256 {code_span(model.model_sha256)}.",
        f"Command: {code_span(' '.join(model.command))}",
        "",
    ]
    return lines if parity is None else [*lines, *_parity_lines(parity)]


def _parity_lines(parity: Parity) -> list[str]:
    return [
        f"Compared with job {code_span(parity.training_job)}: {markdown_text(parity.verdict)}.",
        "",
        *_side_by_side("measured", parity.figures),
        *_side_by_side("environment", parity.environment),
    ]


def _side_by_side(title: str, rows: tuple[ParityRow, ...]) -> list[str]:
    cells = ([markdown_text(text) for text in (row.what, row.sagemaker, row.ec2)] for row in rows)
    return [*markdown_table((title, "SageMaker", "EC2"), cells), ""]


def _deployment_section(summary: RunSummary) -> list[str]:
    endpoint, function, smoke = summary.endpoint, summary.function, summary.smoke
    lines = []
    if endpoint is not None:
        lines.append(
            f"Endpoint {code_span(endpoint.name)}: configuration {code_span(endpoint.config_name)}, "
            f"{endpoint.instance_count} × {markdown_text(endpoint.instance_type)}, "
            f"in service after {endpoint.seconds:.1f} s."
        )
    if function is not None:
        lines.append(
            f"Function {code_span(function.name)}, version {markdown_text(function.version)}, alias "
            f"{code_span(function.alias)}, code sha256 {code_span(function.code_sha256)}, "
            f"role {code_span(function.role_name)}."
        )
    if smoke is not None:
        lines.append(
            f"Smoke test through the alias: image {code_span(smoke.image)} of class {markdown_text(smoke.true_label)} "
            f"was classified as {markdown_text(smoke.predicted_label)} with probability {smoke.score:.4f}; "
            f"{smoke.labels} labels; {smoke.latency_ms} ms."
        )
    return ["## Deployment", "", *lines, ""] if lines else []


def _load_section(summary: RunSummary) -> list[str]:
    steady = {} if summary.loadtest is None else {"Load test": summary.loadtest}
    checked = {} if summary.scaling is None else summary.scaling.reports
    told = steady | {f"Checked load test, {way}": load for way, load in checked.items()}
    if not told:
        return ["## Load test", "", markdown_text(summary.inconclusive) or NO_LOAD_TEST, ""]
    return [line for title, load in told.items() for line in _load_lines(title, load)]


def _load_lines(title: str, load: LoadReport) -> list[str]:
    return [f"## {markdown_text(title)}", "", markdown_text(load_text(load)), "", *_files(load), ""]


def _files(load: LoadReport) -> list[str]:
    return [f"- {markdown_text(name)}: {markdown_link(Path(path).name, path)}" for name, path in load.files.items()]
