"""Makes HTML of what a page shows: jinja2's templates, escaped and masked, with times, sizes and links as text.

Characters that would change how others are read (controls, the direction of text, halves of pairs) are spelled out.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from localaws.console.masking import Mask

_UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
SIZES = ("B", "kB", "MB", "GB", "TB")


class Renderer:
    """Renders templates of this package. Thread-safe once it is made."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._templates = Environment(
            loader=PackageLoader("localaws.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: visible(mask(value)),
            auto_reload=False,
        )
        self._templates.globals.update(link=link, shows=shows)
        self._templates.filters.update(moment=moment, clock=clock, size=size, figure=figure, seconds=seconds)
        self._templates.filters.update(json=json.dumps, masked=mask, masked_as=self._masked_as)
        self._templates.globals["ui"] = self._templates.get_template("macros.html").module

    def __call__(self, template: str, values: Mapping[str, Any]) -> str:
        """Return a template's HTML."""
        self._mask.renew()
        return self._templates.get_template(template).render(values)

    def _masked_as(self, value: str, name: str) -> str:
        """Return the value of a name, which may say that it is a secret."""
        shown: str = self._mask(f"{name}={value}")
        return shown.partition("=")[2]


def link(page: str, **query: Any) -> str:
    """Return the address of a page, relative to the others."""
    given = {name: value for name, value in query.items() if value not in (None, "", 0)}
    return f"{page or './'}?{urlencode(given, errors='replace')}" if given else page or "./"


def shows(query: Mapping[str, str], part: str) -> bool:
    """Return whether a page shows one of its parts: all unless the query names some (`parts=scaling,charts`)."""
    return not query.get("parts") or part in query["parts"].split(",")


def visible(value: Any) -> Any:
    """Return a text with characters that are not seen spelled out as Python does; other values are as they were."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], value)


def moment(value: float | datetime | None) -> str:
    """Return a time (Unix seconds, or a datetime that is in UTC if it has no zone) with its date."""
    return "" if value is None else f"{_aware(value):%Y-%m-%d %H:%M:%S}"


def clock(value: float | datetime | None) -> str:
    """Return a time without its date."""
    return "" if value is None else f"{_aware(value):%H:%M:%S}"


def size(value: float | None) -> str:
    """Return a number of bytes in the unit that fits."""
    if value is None:
        return ""
    for unit in SIZES:
        if value < 1000 or unit == SIZES[-1]:
            break
        value /= 1000
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"


def figure(value: float | None, digits: int = 1) -> str:
    """Return a number as a person reads it; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{digits}f}"


def seconds(value: float | None) -> str:
    """Return a duration in seconds as a person reads it."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:,.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def paged(items: Iterable[Any], query: Mapping[str, str], most: int = 50) -> dict[str, Any]:
    """Return the items of the page that a query asks for (`from`: how many stand before it), and what is around it."""
    listed = list(items)
    begin = int(query["from"]) if query.get("from", "").isdecimal() and len(query["from"]) < 9 else 0
    begin = min(begin, max(0, len(listed) - 1)) // most * most
    return {
        "items": listed[begin : begin + most],
        "total": len(listed),
        "first": begin + 1 if listed else 0,
        "last": min(begin + most, len(listed)),
        "before": max(0, begin - most) if begin else None,
        "after": begin + most if begin + most < len(listed) else None,
    }


def _aware(value: float | datetime) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromtimestamp(value, UTC)
