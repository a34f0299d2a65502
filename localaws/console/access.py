"""Who gets to see the console: programs and pages that have its token, by GET, from the browser's own address line.

A click on a link of another site is `cross-site` for the browser. It is let in if it opens a whole page with the right
token; a frame, an image, a script or a fetch of another site is refused like everywhere.
"""

import hmac
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from localaws.auth.routes import CONSOLE, OpenRoute

WITHOUT = "the address of the console has a token; `kennel open --console` opens it\n"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "X-Content-Type-Options": "nosniff",
}
_NAVIGATION = {b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}


class ConsoleRoute(OpenRoute):
    """Everything below the console's address. `endpoint` sees only requests that have the token."""

    def __init__(self, endpoint: Any, token: str) -> None:
        super().__init__(CONSOLE + "{rest:path}", endpoint)
        self._token = token.encode()

    def admits(self, scope: Scope) -> bool:
        """Return whether this is the route of the request, whatever its method: the route itself refuses others."""
        return self.matches(scope)[0] is not Match.NONE

    def admits_page(self, scope: Scope) -> bool:
        """Return whether a page of another origin may lead here: only as a link to a whole page, with the token."""
        told = dict(scope["headers"])
        is_link = all(told.get(name) == value for name, value in _NAVIGATION.items()) and b"origin" not in told
        return is_link and scope["method"] == "GET" and self.admits(scope) and self.has_token(scope)

    def has_token(self, scope: Scope) -> bool:
        """Return whether the path has the token of this server."""
        given = scope["path"].removeprefix(CONSOLE).partition("/")[0]
        return hmac.compare_digest(given.encode(), self._token)

    async def handle(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer what has the token; refuse the rest alike, whether or not there is such a page."""
        if self.has_token(scope):
            await super().handle(scope, receive, send)
        else:
            await refused()(scope, receive, send)


def refused() -> Response:
    """Return the answer to who has no token."""
    return PlainTextResponse(WITHOUT, 403, HEADERS)
