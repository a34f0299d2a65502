"""Credentials of a role for a process that lives longer than they do: it asks for new ones before they end.

As in the containers of SageMaker and ECS, the environment has an address and a token for it, and AWS's SDKs ask there:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localaws.auth.routes import PREFIX, OpenRoute
from localaws.errors import NoSuchRole

PATH = PREFIX + "credentials/"
GRANTED_SECONDS = 3600
RENEWED_BEFORE_SECONDS = 1800.0  # botocore begins to ask 15 minutes before the end


@dataclass(frozen=True)
class Session:
    """A role's credentials, and when they end by the real clock (aware)."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    ends: datetime


class Grant:
    """One process's right to a role's credentials, until `close`. While it is held, its keys are refused.

    `issue` makes a session, `hold` and `release` what `Credentials` does to a key. Used from many threads.
    """

    def __init__(
        self,
        issue: Callable[[], Session],
        *,
        hold: Callable[[str, Callable[[], None]], None],
        release: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.identity = secrets.token_urlsafe(16)
        self.token = secrets.token_urlsafe(32)
        self._issue = issue
        self._hold, self._release = hold, release
        self._clock = clock
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._on_use: Callable[[], None] | None = None
        self._held: list[str] = []

    def hold(self, on_use: Callable[[], None]) -> None:
        """Have requests with its keys refused until `release`; `on_use` is told of each, and must not block."""
        with self._lock:
            self._on_use = on_use

    def release(self) -> None:
        """Let its keys be used."""
        with self._lock:
            self._on_use = None
            held, self._held = self._held, []
            for access_key_id in held:
                self._release(access_key_id)

    def session(self) -> Session:
        """Return credentials that last for half an hour and more.

        Raises:
            NoSuchRole: the role is gone.
        """
        with self._lock:
            left = self._session.ends - self._clock() if self._session else timedelta()
            if self._session is None or left.total_seconds() < RENEWED_BEFORE_SECONDS:
                self._session = self._issue()
                if self._on_use is not None:
                    self._held.append(self._session.access_key_id)
                    self._hold(self._session.access_key_id, self._on_use)
            return self._session


class Grants:
    """The grants of a server's processes, and the route where they are used."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def add(self, grant: Grant) -> None:
        """Have this grant answered."""
        self._grants[grant.identity] = grant

    def remove(self, grant: Grant) -> None:
        """Answer this grant no more; nothing happens if it is not known."""
        self._grants.pop(grant.identity, None)

    def route(self) -> OpenRoute:
        """Return the route, which asks for the grant's own token."""
        return OpenRoute(PATH + "{identity}", self._answer)

    def _answer(self, request: Request) -> Response:
        grant = self._grants.get(request.path_params["identity"])
        given = request.headers.get("authorization", "").encode("latin1")
        if grant is None or not hmac.compare_digest(given, grant.token.encode()):
            return JSONResponse({"code": "AccessDenied", "message": "the token is not that of these credentials"}, 401)
        try:
            return JSONResponse(_shown(grant.session()))
        except NoSuchRole as error:
            return JSONResponse({"code": error.code, "message": error.message}, 404)


def environment_of(grant: Grant, url: str) -> Mapping[str, str]:
    """Return the variables by which AWS's SDKs find the credentials, on the server at `url`."""
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}{PATH}{grant.identity}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": grant.token,
    }


def _shown(session: Session) -> dict[str, str]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.token,
        "Expiration": session.ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
