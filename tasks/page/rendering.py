"""Renders the page's templates, and sections that are written in Markdown, as HTML.

jinja2 escapes all text; what a browser would act on or hide (controls, bidi) is shown as its escape, as on a terminal.
Markdown is rendered without raw HTML, and its text is escaped already (`tasks.run.escaping`).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tasks.run.escaping import terminal_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markdown_it import MarkdownIt
TEMPLATES = Path(__file__).with_name("templates")
_HERE = re.compile(r"data:image/png;base64,|(?![a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
"""A picture in the page, or a file beside it; no other address becomes a link."""

_SCROLLS = '<div class="wide" tabindex="0" role="group" aria-label="table">'


def rendered(template: str, **values: Any) -> Markup:
    """Return a template as HTML.

    Raises:
        jinja2.UndefinedError: a value that the template needs was not given.
    """
    return rendered_from(TEMPLATES, template, **values)


def rendered_from(folder: Path, template: str, **values: Any) -> Markup:
    """Return a template of another folder as HTML.

    Raises:
        jinja2.UndefinedError: a value that the template needs was not given.
    """
    return Markup(_environment(folder).get_template(template).render(**values))  # noqa: S704 every value is escaped


def style() -> Markup:
    """Return the style sheet of every page that a run has."""
    return Markup((TEMPLATES / "style.css").read_text())  # noqa: S704 a file of ours


def moment(iso: str) -> str:
    """Return a time in ISO 8601, UTC, as a person writes it; in templates it is the filter of that name."""
    return iso.replace("T", " ").replace("+00:00", " UTC")


def markdown_html(lines: list[str]) -> Markup:
    """Return Markdown as HTML; a heading becomes one of the third level, because a section's title is of the second."""
    text = "\n".join("#" + line if line.startswith("## ") else line for line in lines)
    return Markup(_markdown().render(text))  # noqa: S704 raw HTML is off


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def shown(value: object) -> object:
        return terminal_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
    )
    made.filters["moment"] = moment
    return made


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    made.validateLink = lambda url: _HERE.match(url) is not None  # type: ignore[method-assign]
    made.add_render_rule("table_open", lambda *_: f"{_SCROLLS}<table>\n")
    made.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return made
