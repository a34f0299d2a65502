"""One kept-alive HTTP/1.1 connection on gevent's sockets, which sends requests and parses the responses.

geventhttpclient (llhttp) does the parsing. Nothing is retried: a failed request is counted and never sent twice.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import gevent.socket
import gevent.ssl
from geventhttpclient.response import HTTPParseError, HTTPResponse

IDLE_SECONDS = 2.0
"""A connection idle for longer is replaced, because servers close idle connections (uvicorn after 5 s)."""

_READ_BYTES = 65_536


class BrokenAnswerError(OSError):
    """The connection ended before the response was complete, or the bytes were not HTTP."""


@functools.cache
def _tls_context() -> Any:
    """Return the TLS context, which all connections share because loading the certificates takes milliseconds."""
    return gevent.ssl.create_default_context()


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response; header names are case-insensitive."""

    status: int
    body: bytes
    _parsed: Any

    def header(self, name: str) -> str:
        """Return a header's value (the first of several), or an empty string."""
        value = self._parsed.get(name.lower())
        return str(value[0] if isinstance(value, list) else value or "")


class Connection:
    """A connection that opens when it is first used; the constructor does no I/O."""

    def __init__(self, host: str, port: int, *, is_tls: bool, timeout_seconds: float) -> None:
        """Store the address; `timeout_seconds` limits the connect and each wait for bytes."""
        self._address = (host, port)
        self._is_tls = is_tls
        self._timeout_seconds = timeout_seconds
        self._socket: Any = None
        self._used_at = 0.0

    def exchange(self, request: bytes) -> Answer:
        """Send a complete request and return the complete response.

        Raises:
            TimeoutError: no bytes arrived within the timeout.
            BrokenAnswerError: the response ended early or is not HTTP.
            OSError: the connection could not be opened, or was reset.
        """
        if self._socket is not None and time.perf_counter() - self._used_at > IDLE_SECONDS:
            self.close()
        if self._socket is None:
            self._socket = self._open()
        try:
            self._socket.sendall(request)
            return self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> Any:
        plain = gevent.socket.create_connection(self._address, timeout=self._timeout_seconds)
        try:
            plain.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            if not self._is_tls:
                return plain
            return _tls_context().wrap_socket(plain, server_hostname=self._address[0])
        except BaseException:
            plain.close()
            raise

    def _read(self) -> Answer:
        parsed = HTTPResponse("POST")
        try:
            while not parsed.message_complete:
                received = self._socket.recv(_READ_BYTES)
                if not received:
                    raise BrokenAnswerError("the connection ended before the response was complete")
                parsed.feed(received)
        except HTTPParseError as error:
            raise BrokenAnswerError(f"the response is not HTTP: {error}") from error
        self._used_at = time.perf_counter()
        answer = Answer(parsed.status_code, bytes(parsed._body_buffer), parsed)
        if parsed.should_close():
            self.close()
        return answer
