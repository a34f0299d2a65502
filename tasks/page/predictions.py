"""Makes a page of photos with the classes that a model gave them: thumbnails, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.page.pictures import thumbnail_uri
from tasks.page.rendering import rendered, style


def predictions_page(run_id: str, who: str, rows: Sequence[tuple[str, str | None, float | None, str | None]]) -> str:
    """Return the page; a row is a photo's path or URL, its class, its score, and the error if there is no class."""
    photos = [
        {
            "picture": None if "://" in photo else thumbnail_uri(Path(photo)),
            "name": photo,
            "label": label or "no class",
            "text": error or ("" if score is None else f"{score:.3f}"),
        }
        for photo, label, score, error in rows
    ]
    return str(rendered("predictions.html.j2", run_id=run_id, who=who, photos=photos, style=style()))
