"""What is served at host names of its own: it comes before the gates of AWS's API, and checks its callers by itself.

The API's gates would refuse what such hosts are for: requests of web pages, and requests without a signature.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.auth.origin import is_loopback_host
from localaws.auth.verifier import Unverified, Verifier
from localaws.errors import AwsError
from localaws.permissions.callers import Caller

MISSING = "Missing Authentication Token"
HELD = "the credentials belong to an instance that does not exist yet"


@dataclass(frozen=True)
class SignedCaller:
    """Who signed a request, and with which key."""

    access_key_id: str
    caller: Caller


class SignedCallers:
    """Finds who signed a request. `caller_of`: who has a key; `is_held`: whether it counts only later."""

    def __init__(self, verifier: Verifier, caller_of: Callable[[str], Caller], is_held: Callable[[str], bool]) -> None:
        self._verifier, self._caller_of, self._is_held = verifier, caller_of, is_held

    def find(self, scope: Scope, service: str, body: bytes) -> SignedCaller:
        """Return who signed a request for a service.

        Raises:
            AwsError: nobody did, or the signature does not hold (403, or the service's own status).
        """
        found = self._verifier.read(scope)
        if not isinstance(found, Unverified) or found.claim.service != service:
            raise AwsError("MissingAuthenticationTokenException", MISSING, status=403)
        signed = found.verify(found.payload or hashlib.sha256(body).hexdigest().encode())
        if self._is_held(signed.access_key_id):
            raise AwsError("AccessDeniedException", HELD, status=403)
        return SignedCaller(signed.access_key_id, self._caller_of(signed.access_key_id))


class HostRoute(BaseRoute):
    """Answers all requests to its host names. The front sets `callers` before it serves."""

    callers: SignedCallers

    @abstractmethod
    def takes(self, host: str) -> bool:
        """Return whether a host name, without its port, is one of its own."""

    @abstractmethod
    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:  # noqa: ARG002 starlette's signature
        """Match no path: the host alone tells."""
        return Match.NONE, {}


class HostGate:
    """Passes requests to the host names of `hosts` on to these, and all others to the application."""

    def __init__(self, app: ASGIApp, hosts: Sequence[HostRoute]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = _host_of(scope)
        found = next((each for each in self._hosts if each.takes(host)), None)
        await (found.serve if found else self._app)(scope, receive, send)


def _host_of(scope: Scope) -> str:
    """Return the one Host header of an HTTP request without its port, empty if there is none or it is not loopback."""
    if scope["type"] != "http" or not is_loopback_host(scope):
        return ""
    host: bytes = next(value for name, value in scope["headers"] if name == b"host")
    return (host.rpartition(b":")[0] or host).decode("latin1").lower()
