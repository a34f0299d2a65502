"""Patterns for numbers in text of others: what matches them is always read by `float`, and `WHOLE` by `int`.

`\\d+` also matches digits of other scripts and more digits than Python converts, and `[\\d.]+` matches `1.2.3`.
"""

from __future__ import annotations

WHOLE = r"[0-9]{1,15}(?![0-9.])"
DECIMAL = r"[0-9]{1,15}(?:\.[0-9]{1,25})?(?![0-9.])"
SCIENTIFIC = r"[-+]?[0-9]{1,15}(?:\.[0-9]{0,25})?(?:[eE][-+]?[0-9]{1,3})?"
"""As Python prints a float; it is followed by the end of the word, which the pattern around it asks for."""


def whole_number(text: str) -> int | None:
    """Return the number that a text consists of, or None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None
