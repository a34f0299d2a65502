"""Publish a stage's result in Prefect as a Markdown artifact.

A browser that shows Prefect's page cannot read this machine's files, so pictures are embedded as `data:` URIs.
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from prefect.artifacts import acreate_markdown_artifact

from tasks.run.escaping import code_span, markdown_table, markdown_text

MAX_ITEMS = 8
MAX_PICTURE_BYTES = 1_000_000
"""A larger picture is named and not embedded, because an artifact is stored as a row of Prefect's database."""

_PICTURE = re.compile(r"^!\[(?P<alt>[^\]]*)\]\((?P<path>.+\.png)\)$", re.MULTILINE)


async def publish_record(stage: str, run_id: str, record: object) -> None:
    """Create the artifact `<stage>-<run id>`, which shows the record's fields as a table.

    Raises:
        TypeError: `record` is not a dataclass instance.
    """
    await publish_markdown(stage, run_id, record_table(stage, run_id, record))


async def publish_markdown(stage: str, run_id: str, markdown: str, *, folder: Path = Path()) -> None:
    """Create the artifact `<stage>-<run id>` from Markdown and embed its PNG pictures.

    The paths of pictures are relative to `folder`.
    """
    key = re.sub(r"[^a-z0-9]+", "-", f"{stage}-{run_id}".lower()).strip("-")
    shown = embed_pictures(markdown, folder)
    description = markdown_text(f"{stage} of run {run_id}")
    await acreate_markdown_artifact(markdown=shown, key=key, description=description)


def embed_pictures(markdown: str, folder: Path = Path()) -> str:
    """Embed each local PNG picture that has a line of its own; a missing or too large one is replaced by its path."""
    return _PICTURE.sub(lambda found: _embedded(found, folder), markdown)


def _embedded(found: re.Match[str], folder: Path) -> str:
    alt, path = found["alt"], found["path"]
    if path.startswith(("data:", "http://", "https://")):
        return found[0]
    file = next((found for found in (folder / path, folder / unquote(path)) if found.is_file()), None)
    if file is None or file.stat().st_size > MAX_PICTURE_BYTES:
        return f"{alt}: {code_span(unquote(path))}"
    return f"![{alt}](data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()})"


def record_table(stage: str, run_id: str, record: object) -> str:
    """Return a record as a Markdown table; long collections are cut, and their length is added.

    Raises:
        TypeError: `record` is not a dataclass instance.
    """
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"the record must be a dataclass instance, not {type(record).__name__}")
    rows = [(markdown_text(name), markdown_text(_shown(value))) for name, value in dataclasses.asdict(record).items()]
    title = f"## {markdown_text(stage)} of run {markdown_text(run_id)}"
    return "\n".join([title, "", *markdown_table(("field", "value"), rows), ""])


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return _shown([f"{key}: {_shown(item)}" for key, item in value.items()])
    if isinstance(value, list | tuple):
        shown = ", ".join(_shown(item) for item in value[:MAX_ITEMS])
        return shown if len(value) <= MAX_ITEMS else f"{shown}, … ({len(value)} in all)"
    return str(value)
