"""Lists in pages whose token is the number of the first item of the next page."""

from collections.abc import Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def page_of(items: Sequence[Item], token: Any, size: Any) -> tuple[Sequence[Item], str | None]:
    """Return the page that a token (None: the first) leads to, and the token of the next one, None after the last.

    Raises:
        ValueError: no page has this token; the front answers with the service's error.
    """
    if token and not str(token).isdecimal():
        raise ValueError(f"{token!r} is the token of no page")
    start = int(token or 0)
    end = start + int(size)
    return items[start:end], str(end) if end < len(items) else None
