"""The names by which the columns of a table are known: those of photos, of classes and of splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FILE_COLUMNS = (
    *("file_name", "filename", "file", "image_path", "filepath", "file_path", "path", "image_name", "image_id"),
    *("image", "img", "photo", "id", "name"),
)
LABEL_COLUMNS = (
    *("label", "labels", "label_name", "class_name", "class", "category", "species", "breed", "target"),
    *("class_id", "classid", "dx", "diagnosis"),
)
SPLIT_COLUMNS = ("split", "set", "subset")


def columns_named(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the columns that have one of these names in any case, in the order of the names."""
    by_name = {name.strip().lower().replace(" ", "_"): name for name in columns}
    return [by_name[name] for name in names if name in by_name]


def is_header(cells: Sequence[str]) -> bool:
    """Tell whether a row has a name of a column of photos, and one of a column of classes or splits."""
    return bool(columns_named(cells, FILE_COLUMNS) and columns_named(cells, (*LABEL_COLUMNS, *SPLIT_COLUMNS)))
