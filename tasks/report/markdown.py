"""Writes the Markdown report of a run from its summary.

Every figure has its unit. A figure that a record lacks is left out. Paths in the report are relative to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.account.prices import PRICES_SOURCE
from tasks.load.report import load_text
from tasks.report.parity import Parity, ParityRow
from tasks.report.rows import summary_rows
from tasks.report.summary import RunSummary, made_or_note
from tasks.run.handle import RunFolder
from tasks.run.record_store import write_atomically
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


def write_report(summary: RunSummary) -> Path:
    """Write runs/<id>/report.md from whatever records there are, and return its path.

    A section whose record is missing is left out and has a note, and so has one whose record holds values that cannot
    be shown.

    Raises:
        DiskFailed: the report cannot be written.
    """
    path = Path(summary.report)
    rows = {name: value for name, value in summary_rows(summary).items() if name != "report"}
    table = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows.items()]
    sections = [
        f"# Run {summary.run_id}",
        "",
        "Every figure comes from the JSON files in the folder of this report.",
        "",
        "| | |",
        "|---|---|",
        *table,
        "",
        *_section("Notes", lambda: _notes_section(summary)),
        *_section("Data", lambda: _data_section(summary.dataset)),
        *_section("Training", lambda: _training_section(summary.model)),
        *_section("Downloaded files", lambda: download_markdown(RunFolder(path.parent))),
        *_section("Training on EC2 over SSH", lambda: _ec2_section(summary.ec2, summary.parity)),
        *_section("Deployment", lambda: _deployment_section(summary)),
        *_section("Load test", lambda: _load_section(summary)),
        *_section("Scaling", lambda: [] if summary.scaling is None else [scaling_markdown(summary.scaling)]),
    ]
    write_atomically(path, (relative_to_report("\n".join(sections), path.parent) + "\n").encode())
    return path


def _section(title: str, write: Callable[[], list[str]]) -> list[str]:
    """Return the lines of a section; when a value of the records prevents it, a note under its title."""
    return made_or_note(write, lambda why: [f"## {title}", "", f"{why[0].upper()}{why[1:]}.", ""])


def _notes_section(summary: RunSummary) -> list[str]:
    return ["## Notes", "", *(f"- {note}" for note in summary.notes), ""] if summary.notes else []


def relative_to_report(markdown: str, folder: Path) -> str:
    """Return the Markdown with paths in links and code spans relative to the run's folder, so that it can be moved."""
    for prefix in {str(folder.absolute()), str(folder.resolve()), str(folder)}:
        for opening in ("](", "`"):
            markdown = markdown.replace(f"{opening}{prefix}/", opening)
    return markdown


def _data_section(data: DatasetRef | None) -> list[str]:
    if data is None:
        return []
    rows = [f"| {split} | {data.images(split):,} | {data.shards.get(split, '')} |" for split in SPLITS]
    return [
        "## Data",
        "",
        f"`{data.uri}`, digest `{data.digest}`, {data.size_bytes / 1e6:.1f} MB, source: {data.source}.",
        "",
        "| split | images | shards |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _training_section(model: TrainedModel | None) -> list[str]:
    if model is None:
        return []
    metrics = [f"| {name} | {value:g} |" for name, value in sorted(model.metrics.items())]
    cost = "" if model.cost_usd is None else f", about {model.cost_usd:.4f} USD ({PRICES_SOURCE})"
    return [
        "## Training",
        "",
        f"Job `{model.job_name}` on {model.instance_count} × {model.instance_type}"
        f"{' (spot)' if model.spot else ''}: {model.instance_reason}.",
        f"{model.seconds:.1f} s from creation to end, {model.billable_seconds:.0f} s billable{cost}.",
        f"Model `{model.model_uri}`, data digest `{model.data_digest}`, commit `{model.git_commit or 'unknown'}`.",
        "",
        "| metric | value |",
        "|---|---|",
        *metrics,
        "",
    ]


def _ec2_section(model: InstanceModel | None, parity: Parity | None) -> list[str]:
    if model is None:
        return []
    names = ", ".join(f"`{name}`" for name in model.instance_ids)
    refused = f" EC2 refused before: {'; '.join(model.refused)}." if model.refused else ""
    lines = [
        "## Training on EC2 over SSH",
        "",
        f"Job `{model.name}` on {names}: {model.instance_reason}.{refused}",
        f"Prices: {model.prices}.",
        f"Model `{model.model_uri}`, sha256 `{model.model_sha256}`.",
        f"Command: `{' '.join(model.command)}`",
        "",
    ]
    return lines if parity is None else [*lines, *_parity_lines(parity)]


def _parity_lines(parity: Parity) -> list[str]:
    return [
        f"Compared with job `{parity.training_job}`: {parity.verdict}.",
        "",
        *_side_by_side("measured", parity.figures),
        *_side_by_side("environment", parity.environment),
    ]


def _side_by_side(title: str, rows: tuple[ParityRow, ...]) -> list[str]:
    head = [f"| {title} | SageMaker | EC2 |", "|---|---|---|"]
    return [*head, *(f"| {row.what} | {row.sagemaker} | {row.ec2} |" for row in rows), ""]


def _deployment_section(summary: RunSummary) -> list[str]:
    endpoint, function, smoke = summary.endpoint, summary.function, summary.smoke
    lines = []
    if endpoint is not None:
        lines.append(
            f"Endpoint `{endpoint.name}`: configuration `{endpoint.config_name}`, {endpoint.instance_count} × "
            f"{endpoint.instance_type}, in service after {endpoint.seconds:.1f} s."
        )
    if function is not None:
        lines.append(
            f"Function `{function.name}`, version {function.version}, alias `{function.alias}`, code sha256 "
            f"`{function.code_sha256}`, role `{function.role_name}`."
        )
    if smoke is not None:
        lines.append(
            f"Smoke test through the alias: image `{smoke.image}` of class {smoke.true_label} was classified as "
            f"{smoke.predicted_label} with probability {smoke.score:.4f}; {smoke.labels} labels; {smoke.latency_ms} ms."
        )
    return ["## Deployment", "", *lines, ""] if lines else []


def _load_section(summary: RunSummary) -> list[str]:
    steady = {} if summary.loadtest is None else {"Load test": summary.loadtest}
    checked = {} if summary.scaling is None else summary.scaling.reports
    told = steady | {f"Checked load test, {way}": load for way, load in checked.items()}
    if not told:
        return ["## Load test", "", summary.inconclusive or NO_LOAD_TEST, ""]
    return [
        line for title, load in told.items() for line in (f"## {title}", "", load_text(load), "", *_files(load), "")
    ]


def _files(load: LoadReport) -> list[str]:
    return [f"- {name}: [{Path(path).name}]({path})" for name, path in load.files.items()]
