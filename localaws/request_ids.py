"""Gives each answer of a service the id of its request, as AWS does: by it a client knows an answer of AWS's."""

import base64
import random
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_IDS = random.Random()


def new_ids(service: str) -> list[tuple[str, str]]:
    """Return the headers with the ids of one request to a service (its signing name): S3 has two."""
    if service != "s3":
        return [("x-amzn-requestid", str(uuid.uuid4()))]
    host = base64.b64encode(_IDS.randbytes(56)).decode()
    return [("x-amz-request-id", f"{_IDS.getrandbits(64):016X}"), ("x-amz-id-2", host)]


class RequestIds:
    """An ASGI application that adds the ids to the answers of another one which lack them; localaws's own have none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed: Any = scope.get("localaws.signed")
        if signed is None or not signed.service:
            await self._app(scope, receive, send)
            return

        async def send_with_ids(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_ids(list(message["headers"]), signed.service)}
            await send(message)

        await self._app(scope, receive, send_with_ids)


def _with_ids(headers: list[tuple[bytes, bytes]], service: str) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in headers}
    new = ((name.encode(), value.encode()) for name, value in new_ids(service))
    return [*headers, *((name, value) for name, value in new if name not in names)]
