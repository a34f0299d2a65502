"""Routes that say who may use them: localaws's own paths (`/_localaws/…`), and the services' fast ones."""

from typing import Any

from starlette.routing import Match, Route
from starlette.types import Scope

from localaws.auth.paths import CONSOLE as CONSOLE
from localaws.auth.paths import PREFIX as PREFIX


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

    def admits_page(self, scope: Scope) -> bool:
        """Return whether a page of another origin may have a browser send the request."""
        return self.admits_pages and self.admits(scope)


class ServiceRoute(Route):
    """A path of one service: a request that is signed for another one passes it by."""

    def __init__(self, service: str, path: str, endpoint: Any) -> None:
        super().__init__(path, endpoint, methods=["POST"])
        self._service = service

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the service that the request is signed for, then the path."""
        signed = scope.get("localaws.signed")
        if signed is None or signed.service != self._service:
            return Match.NONE, {}
        return super().matches(scope)
