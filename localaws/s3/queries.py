"""S3's query in one way of writing it, so that all who read it later find the same names."""

from urllib.parse import parse_qsl, quote


def written_once(query: bytes) -> bytes:
    """Return a query whose names and values are percent-encoded only where they have to be; a plus is a plus."""
    if not query:
        return query
    pairs = parse_qsl(query.replace(b"+", b"%2B").decode("latin1"), keep_blank_values=True, encoding="latin1")
    return "&".join(_quoted(name) + (f"={_quoted(value)}" if value else "") for name, value in pairs).encode("ascii")


def _quoted(text: str) -> str:
    return quote(text, safe="", encoding="latin1")
