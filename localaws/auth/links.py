"""Links to localaws's own files that need no signature and end soon, as a presigned URL of S3 does."""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping

LINK_SECONDS = 600.0  # what Lambda gives the location of a function's code


class Links:
    """Makes and checks the links of one server; those of its predecessor do not hold."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock

    def query_for(self, path: str) -> str:
        """Return the query with which `path` may be read for ten minutes."""
        end = str(int(self._clock() + LINK_SECONDS))
        return f"expires={end}&token={self._token(path, end)}"

    def admits(self, path: str, query: Mapping[str, str]) -> bool:
        """Return whether this query was made for this path, and not too long ago."""
        end = query.get("expires", "")
        right = self._token(path, end)
        given = query.get("token", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, right.encode()) and self._clock() <= int(end)

    def _token(self, path: str, end: str) -> str:
        return hmac.digest(self._key, f"{end} {path}".encode("utf-8", "replace"), "sha256").hex()
