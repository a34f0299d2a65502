"""Read the layout of photos whose bytes do not matter, with tables of labels beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.data.entries import Entry, Listing
from tasks.data.layout import Layout, read_layout

Placed = dict[str, tuple[str | None, str]]


def read(photos: Sequence[str], tables: Mapping[str, bytes]) -> tuple[Layout, Placed]:
    """Return the layout of photos with tables, and the split and class of each photo by its name."""
    names = (*photos, *tables)
    entries = tuple(Entry(name, len(tables.get(name, b"1"))) for name in names)
    layout = read_layout(Listing(Path("data.zip"), "zip", entries, ()), lambda entry: tables[entry.name])
    return layout, {names[each.index]: (each.split, each.class_name) for each in layout.candidates}
