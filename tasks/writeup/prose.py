"""Joins prose and citations to paragraphs; a numeral in the prose itself is refused.

A template is a sentence with `{names}` of citations in braces. Its own words may hold no digit, but for a few names.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from tasks.run.errors import StageFailed
from tasks.writeup.sources import Citation

NAMES_WITH_DIGITS = ("EC2", "S3", "p95")
"""Words of the field that hold a digit and are no figure."""

Part = str | Citation


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: what question it answers, and its text in parts, prose or citations."""

    title: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The paragraph as a person reads it."""
        return "".join(part if isinstance(part, str) else part.shown for part in self.parts)


def sentence(template: str, **cited: Citation) -> tuple[Part, ...]:
    """Return a sentence's parts.

    Raises:
        StageFailed: the template holds a numeral of its own, or names a citation that was not given.
    """
    parts: list[Part] = []
    for prose, name, _, _ in string.Formatter().parse(template):
        _require_no_numeral(prose)
        parts += [prose] if prose else []
        if name is not None:
            if name not in cited:
                raise StageFailed("writeup", f"{{{name}}} is not cited", template, "report this as a defect of kennel")
            parts.append(cited[name])
    return tuple(parts)


def paragraph(title: str, *sentences: tuple[Part, ...]) -> Paragraph:
    """Return a paragraph of sentences, with a space between them."""
    parts: list[Part] = []
    for each in sentences:
        parts += [" "] if parts and each else []
        parts += each
    return Paragraph(title, tuple(parts))


def _require_no_numeral(prose: str) -> None:
    bare = prose
    for name in NAMES_WITH_DIGITS:
        bare = re.sub(rf"\b{name}\b", "", bare)
    if found := re.search(r"\S*\d\S*", bare):
        why = "every figure is cited, so that it cannot differ from its record"
        raise StageFailed("writeup", f"the prose has a numeral of its own: {found[0]}", why, "cite it from a record")
