"""The front's gate: refuses what must not reach any route."""

from collections.abc import Sequence

from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.auth.origin import is_foreign, is_loopback_host
from localaws.auth.routes import OpenRoute

OTHER_HOST = "localaws answers requests to loopback hosts only\n"
OTHER_ORIGIN = "localaws answers no request that a web page of another origin sends\n"
_METADATA = b"x-amz-meta-"
NO_PREFLIGHT = "localaws allows no other origin anything\n"


class PageGate:
    """Refuses what a web page could send.

    - requests addressed to another host, which a page could send through a name that it controls;
    - requests of pages of another origin, except to those of `routes` that admit them;
    - the question of a browser whether a page may ask (OPTIONS), and WebSockets, which need no such question.

    Headers with an underscore in their name are dropped, as nginx does: WSGI takes `x_amz_acl` and `x-amz_acl` for
    `x-amz-acl`, on which IAM would not have decided. Only the name of a user's metadata may have one: `x-amz-meta-a_b`
    is still metadata when it is taken for `x-amz-meta-a-b`.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute] = ()) -> None:
        self._app = app
        self._open = [each for each in routes if isinstance(each, OpenRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        scope = {**scope, "headers": [each for each in scope["headers"] if _means_itself(each[0])]}
        refusal = self._refusal(scope)
        app = self._app if refusal is None else Response(refusal, 403)
        await app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        if not is_loopback_host(scope):
            return OTHER_HOST
        if is_foreign(scope) and not any(each.admits_page(scope) for each in self._open):
            return OTHER_ORIGIN
        return NO_PREFLIGHT if scope["method"] == "OPTIONS" else None


def _means_itself(name: bytes) -> bool:
    return b"_" not in name or name.startswith(_METADATA)
