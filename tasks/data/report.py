"""Write the report of staging as Markdown; these are pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.data.layout import Quarantined, printable
from tasks.run.records import DatasetRef


def staging_markdown(
    dataset: DatasetRef, quarantined: Sequence[Quarantined], warnings: Sequence[str], what_was_sent: str
) -> str:
    """Return the report: totals, warnings, a row for each class, and the quarantined files with their reasons."""
    total = f"{dataset.images():,} images of {len(dataset.classes)} classes, {dataset.size_bytes / 1e6:,.1f} MB."
    lines = [
        f"# Dataset {_cell(dataset.name)}",
        f"`{dataset.uri}`",
        "",
        f"{total} {what_was_sent}",
        *(f"- warning: {_cell(warning)}" for warning in warnings),
        "",
        *_table(["class", *dataset.counts], [_class_row(name, dataset.counts) for name in dataset.classes]),
    ]
    if quarantined:
        rows = [[_cell(item.name), _cell(item.reason)] for item in quarantined]
        lines += ["", f"## {len(rows)} files are left out", *_table(["file", "reason"], rows)]
    return "\n".join(lines)


def _class_row(name: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [_cell(name), *(f"{by_class[name]:,}" for by_class in counts.values())]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _cell(text: str) -> str:
    """Escape text so that it cannot break a table or be read as markup."""
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
