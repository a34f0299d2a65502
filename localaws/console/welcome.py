"""What a person sees who opens localaws's address in a browser: what it is, and the command that opens the console."""

from importlib import resources

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.console.access import HEADERS
from localaws.s3.hosts import bucket_of

_PAGE = "welcome.html"


class Welcome:
    """An ASGI application that answers a browser's first look at `/`; what clients of AWS send goes on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._html = resources.files("localaws.console").joinpath("templates", _PAGE).read_text("utf-8")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = HTMLResponse(self._html, 200, HEADERS) if scope["path"] == "/" and _is_look(scope) else self._app
        await app(scope, receive, send)


def _is_look(scope: Scope) -> bool:
    """Return whether somebody opened the address itself: nothing is signed or asked for, and HTML is wanted."""
    told = {name: value.decode("latin1") for name, value in scope["headers"]}
    is_bare = scope["method"] in ("GET", "HEAD") and not scope["query_string"] and b"authorization" not in told
    return is_bare and "text/html" in told.get(b"accept", "") and not bucket_of(told.get(b"host", ""))
