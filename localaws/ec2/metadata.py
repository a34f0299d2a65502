"""An instance's metadata service (IMDSv2), served on a listener in the instance's own network."""

import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from localaws.auth.grants import Session
from localaws.errors import NoSuchRole

LONGEST_TOKEN_SECONDS = 21_600
RENEWED_BEFORE = timedelta(hours=6)  # the credentials that are told hold at least as long
REQUEST_SECONDS = 30.0
BROWSERS = ("Origin", "Sec-Fetch-Site")  # what browsers send, and clients of the metadata do not
VERSION = re.compile(r"/(?:latest|\d{4}-\d{2}-\d{2})/(.*)$")
ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}|localhost|")  # curl needs no Host header with HTTP/1.0
HEADER = "X-aws-ec2-metadata-token"
LIFETIME_HEADER = f"{HEADER}-ttl-seconds"
CREDENTIALS_PLACE = "meta-data/iam/security-credentials/"

ForRole = Callable[[str], Session]


@dataclass(frozen=True)
class Identity:
    """What the metadata says of an instance. `values`: what is below /latest/, by path."""

    values: Mapping[str, str | bytes]
    role_arn: str | None
    profile_arn: str | None
    requires_token: bool


class Metadata:
    """The metadata of one instance. `for_role` gives a role's credentials; `clock` is the real one."""

    def __init__(
        self, identity: Identity, for_role: ForRole, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._identity = identity
        self._for_role = for_role
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}
        self._interruption: dict[str, str] = {}
        self._session: Session | None = None

    def announce(self, action: str, at: datetime) -> None:
        """Say from now on that a spot interruption comes, at an aware time."""
        when = _stamp(at)
        self._interruption = {"meta-data/spot/instance-action": json.dumps({"action": action, "time": when})}
        if action == "terminate":
            self._interruption["meta-data/spot/termination-time"] = when

    def serve(self, listener: socket.socket) -> "Service":
        """Answer on a listener, until closed."""
        return Service(self, listener)

    def new_token(self, seconds: str | None) -> str | None:
        """Return a token that lasts so long; None if that is no number from 1 to 21600."""
        if not seconds or not seconds.isdigit() or not 1 <= int(seconds) <= LONGEST_TOKEN_SECONDS:
            return None
        token = secrets.token_urlsafe(40)
        now = time.monotonic()
        with self._lock:
            self._tokens = {each: until for each, until in self._tokens.items() if until > now}
            self._tokens[token] = now + int(seconds)
        return token

    def admits(self, token: str | None) -> bool:
        """Return whether a request with this token, or without one, is answered."""
        if token is None:
            return not self._identity.requires_token
        with self._lock:
            return self._tokens.get(token, 0.0) > time.monotonic()

    def look_up(self, path: str) -> str | bytes | None:
        """Return what is at a path below /latest/: a value, or the names in a folder; None if there is nothing."""
        values = {**self._identity.values, **self._interruption, **self._role_values(path)}
        if (value := values.get(path)) is not None:
            return value
        folder = path.rstrip("/") + "/" if path else ""
        below = [each.removeprefix(folder) for each in values if each.startswith(folder)]
        names = dict.fromkeys(name.split("/", 1)[0] + ("/" if "/" in name else "") for name in below if name)
        return "\n".join(names) if names else None

    def _role_values(self, path: str) -> dict[str, str]:
        role = self._identity.role_arn
        if role is None:
            return {}
        place = f"{CREDENTIALS_PLACE}{role.rsplit('/', 1)[-1]}"
        info = {"Code": "Success", "LastUpdated": _stamp(), "InstanceProfileArn": self._identity.profile_arn}
        return {
            place: self._role_credentials(role) if path == place else "",
            "meta-data/iam/info": json.dumps(info),
        }

    def _role_credentials(self, role: str) -> str:
        try:
            session = self._renewed(role)
        except NoSuchRole as error:
            return json.dumps({"Code": "AssumeRoleUnauthorizedAccess", "LastUpdated": _stamp(), "Message": str(error)})
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _stamp(),
                "Type": "AWS-HMAC",
                "AccessKeyId": session.access_key_id,
                "SecretAccessKey": session.secret_access_key,
                "Token": session.token,
                "Expiration": _stamp(session.ends),
            }
        )

    def _renewed(self, role: str) -> Session:
        with self._lock:
            if self._session is None or self._session.ends - self._clock() < RENEWED_BEFORE:
                self._session = self._for_role(role)
            return self._session


class Service(ThreadingHTTPServer):
    """Answers requests with one instance's metadata."""

    daemon_threads = True

    def __init__(self, metadata: Metadata, listener: socket.socket) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.metadata = metadata
        threading.Thread(target=self.serve_forever, args=(0.05,), name="instance metadata", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away in the middle."""


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "EC2ws", ""
    timeout = REQUEST_SECONDS

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._is_for_a_page():
            self._answer(403, b"")
        elif self.path != "/latest/api/token":
            self._answer(404, b"")
        elif "X-Forwarded-For" in self.headers:
            self._answer(403, b"")  # as AWS: a token is not for who comes by a proxy
        else:
            seconds = self.headers.get(LIFETIME_HEADER)
            token = self.server.metadata.new_token(seconds)
            if token is None:
                self._answer(400, b"")
            else:
                self._answer(200, token.encode(), {LIFETIME_HEADER: str(seconds)})

    def do_GET(self) -> None:
        if self._is_for_a_page():
            self._answer(403, b"")
            return
        if not self.server.metadata.admits(self.headers.get(HEADER)):
            self._answer(401, b"")
            return
        match = VERSION.match(self.path.split("?", 1)[0])
        found = self.server.metadata.look_up(match[1]) if match else None
        if found is None:
            self._answer(404, b"Not Found")
        else:
            self._answer(200, found if isinstance(found, bytes) else found.encode())

    def _is_for_a_page(self) -> bool:
        """Return whether a browser asks, or by a name: without namespaces each page of this machine's browsers may."""
        host = self.headers.get("Host", "").partition(":")[0]
        return any(name in self.headers for name in BROWSERS) or not ADDRESS.fullmatch(host)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _stamp(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
