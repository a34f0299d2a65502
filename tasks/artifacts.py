"""What a stage shows in Prefect: one Markdown artifact, made from the stage's record and nothing else."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from prefect.artifacts import acreate_markdown_artifact

MAX_ITEMS = 8


async def publish_record(stage: str, run_id: str, record: object) -> None:
    """Create the artifact `<stage>-<run id>` with a table of the record's fields.

    Raises:
        TypeError: `record` is not a dataclass instance.
    """
    await publish_markdown(stage, run_id, record_table(stage, run_id, record))


async def publish_markdown(stage: str, run_id: str, markdown: str) -> None:
    """Create the artifact `<stage>-<run id>` with the text given."""
    key = re.sub(r"[^a-z0-9]+", "-", f"{stage}-{run_id}".lower()).strip("-")
    await acreate_markdown_artifact(markdown=markdown, key=key, description=f"{stage} of run {run_id}")


def record_table(stage: str, run_id: str, record: object) -> str:
    """Return a record as a Markdown table, long collections cut with their length said."""
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"a record is an instance of a dataclass, not {type(record).__name__}")
    rows = [f"| {name} | {_cell(value)} |" for name, value in dataclasses.asdict(record).items()]
    return "\n".join([f"## {stage} of run {run_id}", "", "| field | value |", "|---|---|", *rows, ""])


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return _cell([f"{key}: {_cell(item)}" for key, item in value.items()])
    if isinstance(value, list | tuple):
        shown = ", ".join(_cell(item) for item in value[:MAX_ITEMS])
        return shown if len(value) <= MAX_ITEMS else f"{shown}, … ({len(value)} in all)"
    return str(value).replace("|", "\\|").replace("\n", " ")
