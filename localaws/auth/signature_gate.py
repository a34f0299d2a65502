"""The gate behind the one for pages: only what is signed with a key of this server gets on, and localaws's own paths.

A body whose hash is part of the signature is read before it is let through. S3's bodies may be large: their hash is
declared, and checked where they are received.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.auth.routes import PREFIX, OpenRoute
from localaws.auth.verifier import FORM, Signed, Unverified, Verifier
from localaws.error_replies import error_reply
from localaws.errors import AwsError

LONGEST_BODY_BYTES = 128 * 2**20  # AWS's largest is CreateFunction's, with a zip of 50 MB in base64
RUNTIME = "/endpoints/"  # SageMaker's runtime answers 403 where its control plane answers 400
BODY = "localaws.body"  # in the scope: a body that was read, bytes
HELD = "the credentials belong to an instance that does not exist yet"


class SignatureGate:
    """Lets through what is signed, and of `/_localaws/…` what `routes` declare open or what carries the token.

    A client that needs one path only carries the HMAC-SHA256 (hex) of that path under the token, and nothing more is
    lost if another program gets hold of it.

    `is_held` says whether a key belongs to a process that was started ahead: the instance that it will be does not
    exist on AWS yet, so its requests are refused too.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        *,
        token: str,
        routes: Sequence[BaseRoute] = (),
        is_held: Callable[[str], bool] = lambda _: False,
        longest_body_bytes: int = LONGEST_BODY_BYTES,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._token = token.encode()
        self._own_paths = [each for each in routes if isinstance(each, Route) and each.path.startswith(PREFIX)]
        self._open = [each for each in self._own_paths if isinstance(each, OpenRoute)]
        self._is_held = is_held
        self._longest = longest_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(PREFIX):
            await self._own(scope)(scope, receive, send)
            return
        body: _Body | None = None
        try:
            found = self._verifier.read(scope)
            if isinstance(found, Unverified) and found.payload is None:
                body = await _read(receive, self._longest)
                receive, scope[BODY] = _again(body, receive), body.content
            scope["localaws.signed"] = self._signed(found, body)
        except AwsError as error:
            await refuse(scope, error, None if body else receive, send)
        except ClientDisconnect:
            return
        else:
            await self._app(scope, receive, send)

    def _signed(self, found: Unverified | Signed, body: "_Body | None") -> Signed:
        if isinstance(found, Signed):
            return found
        if body is not None and body.size_bytes > self._longest:
            text = f"Request must be smaller than {self._longest} bytes"
            raise AwsError("RequestEntityTooLargeException", text, status=413)
        signed = found.verify(body.sha256 if body else found.payload or b"")
        if self._is_held(signed.access_key_id):
            raise AwsError("AccessDeniedException", HELD, status=403)
        return signed

    def _own(self, scope: Scope) -> ASGIApp:
        if all(each.matches(scope)[0] is Match.NONE for each in self._own_paths):
            return JSONResponse({"message": f"localaws has no path {scope['path']}"}, 404)
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        of_path = hmac.new(self._token, scope["path"].encode(), "sha256").hexdigest().encode()
        has_token = any(hmac.compare_digest(given, b"Bearer " + each) for each in (self._token, of_path))
        if has_token or any(each.admits(scope) for each in self._open):
            return self._app
        message = "this needs the header Authorization: Bearer TOKEN; the token is in server.json in localaws's home"
        return JSONResponse({"message": message}, 401)


@dataclass(frozen=True)
class _Body:
    """A body that was read: as much of its content as may be, the SHA-256 of that, and its whole size."""

    content: bytes
    sha256: bytes
    size_bytes: int


async def _read(receive: Receive, longest_bytes: int) -> _Body:
    """Read a body to its end, so that its sender gets to read whatever the answer is.

    Raises:
        ClientDisconnect: the sender went away.
    """
    chunks: list[bytes] = []
    digest, size_bytes, is_more = hashlib.sha256(), 0, True
    while is_more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        chunk, is_more = message.get("body", b""), message.get("more_body", False)
        size_bytes += len(chunk)
        if size_bytes <= longest_bytes:
            chunks.append(chunk)
            digest.update(chunk)
    content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return _Body(content, digest.hexdigest().encode(), size_bytes)


def _again(body: _Body, receive: Receive) -> Receive:
    """Return what gives the body that was read, then whatever comes."""
    left = [body.content]

    async def next_message() -> dict[str, object]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return dict(await receive())

    return next_message


async def refuse(scope: Scope, error: AwsError, receive: Receive | None, send: Send) -> None:
    """Answer with an error and close the connection: what is left of the body must not pass for the next request.

    A client that sends the body unasked reads no answer before it has sent all, so that is read first. `receive`: None
    if it was read.
    """
    headers = dict(scope["headers"])
    if receive is not None and b"expect" not in headers:
        await _read_off(receive)
    is_form = headers.get(b"content-type", b"").startswith(FORM)
    reply = error_reply(scope["localaws.service"], error, is_form=is_form)
    status = 403 if reply.status == 400 and scope["path"].startswith(RUNTIME) else reply.status
    await Response(reply.body, status, {**dict(reply.headers), "connection": "close"})(scope, _nothing, send)


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def _read_off(receive: Receive) -> None:
    size_bytes, is_more = 0, True
    while is_more and size_bytes <= LONGEST_BODY_BYTES:
        message = await receive()
        size_bytes += len(message.get("body", b""))
        is_more = message.get("more_body", False)
