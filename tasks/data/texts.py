"""Shorten names and lists for messages, and say numbers of things; the functions are pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tasks.run.escaping import valid_text

if TYPE_CHECKING:
    from tasks.run.records import Quarantined  # an import of 0.1 s that a worker does without

SHOWN = 5
"""How many files a message names; a file of the run, `left_out.csv`, has all of them."""
LAYOUTS = "docs/troubleshooting.md, My data is refused, shows the layouts"
_ENUMERATED = 3
_SHORT = 20
"""A last name with so many characters is shown, and not told as 1 more."""

_LONG_FOLDER = 20
"""A folder with so many characters is told once for all files in it."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 photo, 2,000 photos."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def listed(texts: Sequence[str]) -> str:
    """Return the first texts and the number of the others."""
    if len(texts) == SHOWN + 1 and len(texts[-1]) <= _SHORT:
        return f"{', '.join(texts[:SHOWN])} and {texts[-1]}"
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def enumerated(names: Sequence[str]) -> str:
    """Return the first names as a phrase: a, b and c; a, b, c and 2 more."""
    most = len(names) if len(names) == _ENUMERATED + 1 and len(names[-1]) <= _SHORT else _ENUMERATED
    shown = [shortened(name) for name in names[:most]]
    shown += [f"{len(names) - most:,} more"] if len(names) > most else []
    return joined(shown)


def joined(texts: Sequence[str]) -> str:
    """Return texts as a phrase: a, b and c."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def listed_files(files: Iterable[str]) -> str:
    """Return the first files by name and the number of the others; a long folder of all of them is told once."""
    ordered = sorted(files)
    if len(ordered) < 2:
        return listed([shortened(name) for name in ordered])
    first, last = ordered[0].split("/")[:-1], ordered[-1].split("/")[:-1]
    same = next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    folder = "/".join(first[: min(len(first), len(last)) if same is None else same])
    if len(folder) < _LONG_FOLDER:
        return listed([shortened(name) for name in ordered])
    return f"in {shortened(folder)}: {listed([shortened(name[len(folder) + 1 :]) for name in ordered])}"


def shortened(name: str) -> str:
    """Return a name as valid Unicode of at most 120 characters, for a message."""
    text = valid_text(name)
    return text if len(text) <= 120 else f"{text[:117]}..."


def reasons_text(quarantined: Sequence[Quarantined], count: int | None = None) -> str:
    """Return why files are left out, each reason once with the first files, and how many of `count` have others."""
    by_reason: dict[str, list[str]] = {}
    for item in quarantined:
        by_reason.setdefault(item.reason, []).append(item.name)
    ordered = sorted(by_reason.items(), key=lambda each: -len(each[1]))
    shown = [_reason_text(reason, files) for reason, files in ordered[:SHOWN]]
    more = (len(quarantined) if count is None else count) - sum(len(files) for _, files in ordered[:SHOWN])
    return "; ".join(shown) + (f"; and {more:,} more" if more else "")


def _reason_text(reason: str, files: Sequence[str]) -> str:
    """Return a reason and its first files: x.jpg: it is empty; of 80 files: 80 x it is empty (a, b, c and 77 more)."""
    if len(files) == 1:
        return f"{shortened(files[0])}: {reason}"
    return f"{len(files):,} x {reason} ({enumerated(files)})"
