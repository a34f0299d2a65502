"""Shorten names and lists for messages; the functions are pure."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.run.escaping import valid_text
from tasks.run.records import Quarantined

SHOWN = 5
"""How many files a message names; a file of the run, `left_out.csv`, has all of them."""


def listed(texts: Sequence[str]) -> str:
    """Return the first texts and the number of the others."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def shortened(name: str) -> str:
    """Return a name as valid Unicode of at most 120 characters, for a message."""
    text = valid_text(name)
    return text if len(text) <= 120 else f"{text[:117]}..."


def reasons_text(quarantined: Sequence[Quarantined], count: int | None = None) -> str:
    """Return the first of `count` files that are left out with their reasons, for a message."""
    shown = [f"{shortened(item.name)}: {item.reason}" for item in quarantined[:SHOWN]]
    more = (len(quarantined) if count is None else count) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")
