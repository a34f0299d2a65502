"""Tell what staging found and did: lines for the console, rows of a table, JSON, Markdown; the functions are pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tasks.data.texts import reasons_text
from tasks.run.escaping import code_span, markdown_table, markdown_text
from tasks.run.records import DatasetRef


def finding_lines(dataset: DatasetRef) -> list[str]:
    """Return the findings as lines of progress; there are none for faultless data."""
    notes = [f"data: {text}" for text in dataset.notes]
    return [*notes, *(f"WARNING: data: {text}" for text in (*dataset.warnings, *_left_out(dataset)))]


def finding_rows(dataset: DatasetRef) -> dict[str, str]:
    """Return the findings as rows of a run's table; there are none for faultless data."""
    found = {
        "data notes": "; ".join(dataset.notes),
        "data warnings": "; ".join(dataset.warnings),
        "left out": "".join(_left_out(dataset)),
    }
    return {name: text for name, text in found.items() if text}


def dataset_json(dataset: DatasetRef) -> dict[str, object]:
    """Return the JSON content that `--json` prints for the data."""
    return {
        "images": dataset.images(),
        "classes": len(dataset.classes),
        "quarantined": dataset.quarantined,
        "left_out": [asdict(item) for item in dataset.left_out],
        "warnings": list(dataset.warnings),
        "notes": list(dataset.notes),
    }


def findings_markdown(dataset: DatasetRef) -> list[str]:
    """Return the warnings as a list and the files that are left out as a table, as lines of Markdown."""
    lines = [f"- {markdown_text(note)}" for note in dataset.notes]
    lines += [f"- warning: {markdown_text(warning)}" for warning in dataset.warnings]
    if dataset.left_out:
        rows = [(markdown_text(item.name), markdown_text(item.reason)) for item in dataset.left_out]
        more = dataset.quarantined - len(rows)
        lines += ["", f"{dataset.quarantined:,} files are left out:", "", *markdown_table(("file", "reason"), rows)]
        lines += ["", f"and {more:,} more."] if more else []
    return [*lines, ""] if lines else []


def staging_markdown(dataset: DatasetRef, what_was_sent: str) -> str:
    """Return the report of staging: totals, findings, and a row for each class."""
    total = f"{dataset.images():,} images of {len(dataset.classes)} classes, {dataset.size_bytes / 1e6:,.1f} MB."
    lines = [
        f"# Dataset {markdown_text(dataset.name)}",
        code_span(dataset.uri),
        "",
        f"{total} {what_was_sent}",
        "",
        *findings_markdown(dataset),
        *markdown_table(["class", *dataset.counts], [_class_row(name, dataset.counts) for name in dataset.classes]),
    ]
    return "\n".join(lines)


def _left_out(dataset: DatasetRef) -> list[str]:
    if not dataset.quarantined:
        return []
    return [f"{dataset.quarantined:,} files are left out: {reasons_text(dataset.left_out, dataset.quarantined)}"]


def _class_row(name: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [markdown_text(name), *(f"{by_class[name]:,}" for by_class in counts.values())]
