"""Escape text of others where it leaves kennel: names of classes and files, log lines, messages of AWS.

`terminal_text` is for terminals and for logs that are read on one, and may be applied twice. `markdown_text` and its
companions are for reports and artifacts. Text is escaped at the outermost place, so records and JSON keep it exact.
HTML is written by templates that escape: Locust's and those of `tasks.page`; tests with a browser prove both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

_JOINERS = "\u200c\u200d"
"""Invisible and needed by Persian, by Indic scripts and by emoji; they cannot reorder or hide text."""

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's controls (ESC, C1), formats (bidi, tags), lone surrogates, and separators of lines and paragraphs."""

_MARKUP = re.compile(
    r"[\\`*\[\]<&|~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=:)//|(?<=www)\."
    r"|(?:(?<=mailto)|(?<=xmpp)|(?<=http)|(?<=https)|(?<=ftp)):",
    re.IGNORECASE,
)
_ENTITIES = {"<": "&lt;", "&": "&amp;", "@": "&zwnj;@", ".": "&#46;", ":": "&#58;"}
"""GitHub's renderer looks for mail addresses when entities and escapes are decoded; after a joiner there is none."""

_LEADING = re.compile(r"^(?:[#>=]|[-+](?=\s|-|$)|\d{1,9}(?=[.)](?:\s|$)))")


def terminal_text(text: str) -> str:
    r"""Return a text without anything that a terminal acts on: `\x1b` stands for ESC; ends of lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    return character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in _HARMFUL


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def valid_text(text: str) -> str:
    r"""Return a name of a file as valid Unicode: bytes that are not UTF-8 become `\udcff`, everything else stays."""
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(text: str) -> str:
    """Return a text for a terminal on one line; what separated its lines becomes a space."""
    return " ".join(terminal_text(text).split())


def markdown_text(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line: no markup, HTML, link, table cell, list or heading."""
    marked = _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), one_line(text))
    return _LEADING.sub(_escaped_beginning, marked)


def _escaped_beginning(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def code_span(text: str, *, in_table: bool = False) -> str:
    """Return a text as Markdown code; its fence is longer than any run of backticks in it."""
    shown = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    padding = " " if not shown or shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{padding}{shown.replace('|', chr(92) + '|') if in_table else shown}{padding}{fence}"


def markdown_link(label: str, target: str) -> str:
    """Return a Markdown link to a file or address."""
    return f"[{markdown_text(label)}]({link_target(target)})"


def link_target(path: str) -> str:
    """Return a path or address as the target of a link or picture, with what would end it percent-encoded."""
    return quote(valid_text(path), safe="/:.,;=@+-_~%")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; its cells are Markdown, made by the functions above where the text is of others."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], f"|{'---|' * len(head)}", *lines[1:]]


def csv_text(text: str) -> str:
    """Return text for a cell of a CSV file that no spreadsheet takes for a formula.

    Text that begins as a formula gets an apostrophe before it, as OWASP advises ("CSV Injection"). Controls are spelled
    out, because a carriage return ends a row for some programs and is not quoted. Quotes, commas and line feeds are the
    CSV writer's business.
    """
    shown = terminal_text(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) or shown.startswith(("\t", "\n")) else shown


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
