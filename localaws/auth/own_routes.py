"""Declares which of localaws's own paths (`/_localaws/…`) may be read without its token, and by whom."""

from typing import Any

from starlette.routing import Match, Route
from starlette.types import Scope

PREFIX = "/_localaws/"


class OpenRoute(Route):
    """A path that any program of this machine may read (GET, HEAD), because it tells nothing secret or asks for proof.

    `admits_pages`: also a web page of another origin may have it read.
    """

    def __init__(self, path: str, endpoint: Any, *, admits_pages: bool = False) -> None:
        super().__init__(path, endpoint, methods=["GET"])
        self.admits_pages = admits_pages

    def admits(self, scope: Scope) -> bool:
        """Return whether this is the route of the request."""
        return self.matches(scope)[0] is Match.FULL
