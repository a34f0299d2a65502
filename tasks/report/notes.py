"""Puts a note in the place of what cannot be made from a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tasks.run.errors import LedgerRefused

UNPRINTABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The errors of code that meets a value which a record may hold and no run produces."""

Made = TypeVar("Made")


def made_or_note(make: Callable[[], Made], note: Callable[[str], Made]) -> Made:
    """Return what `make` makes; when a value of the records prevents it, what `note` makes of the reason."""
    try:
        return make()
    except LedgerRefused as error:
        return note(f"{error.what}: {error.why}")
    except UNPRINTABLE as error:
        return note(f"this cannot be shown, because a record holds what no run produces: {error!r}")
