"""Refuses what a foreign web page sends to Prefect's server, before any of its routes: requests and WebSockets.

Prefect 3.8 itself answers any `Host` and, unless told otherwise, allows every origin; it does not check the origin of a
WebSocket at all. A page could thus have created a deployment that a worker runs as the user.

Prefect's own pages contain the code of an analytics service, which `PREFECT_SERVER_ANALYTICS_ENABLED` does not reach.
They are sent with a policy by which a browser asks nobody but this server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tasks.run.web_pages import foreign_page

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
FORBIDDEN = 403
OWN_ONLY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)
"""The policy of Prefect's pages: their scripts and styles are partly inline, and a run's pictures are `data:` URIs."""
POLICY_VIOLATION = 1008  # the server answers a handshake that is closed before it is accepted with 403


class Guard:
    """An ASGI application that passes on what this machine's programs and Prefect's own pages send."""

    def __init__(self, app: Application) -> None:
        """Guard `app`."""
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        why = None if scope["type"] == "lifespan" else foreign_page(_headers(scope))
        if why is None:
            await self._app(scope, receive, _with_policy(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": why})
        else:
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": FORBIDDEN, "headers": plain})
            await send({"type": "http.response.body", "body": f"kennel: {why}\n".encode()})


def _with_policy(send: Send) -> Send:
    """Add the policy to each answer over HTTP; a browser heeds it in documents and workers."""

    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            policy = (b"content-security-policy", OWN_ONLY.encode())
            message = {**message, "headers": [*message.get("headers", ()), policy]}
        await send(message)

    return send_with_policy


def _headers(scope: Message) -> list[tuple[str, str]]:
    return [(name.decode("latin1"), value.decode("latin1")) for name, value in scope["headers"]]
