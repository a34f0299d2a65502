"""One kept-alive HTTP/1.1 connection on gevent's sockets: whole requests out, parsed answers in.

Parsing is geventhttpclient's (llhttp). There is no retry: a request that failed is counted, never sent twice.
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
"""Servers drop idle connections (uvicorn after 5 s): an older one is replaced, so that no request meets the drop."""

_READ_BYTES = 65_536


class BrokenAnswerError(OSError):
    """The connection ended, or the bytes were not HTTP, before the answer was whole."""


@functools.cache
def _tls_context() -> Any:
    """Return the one context of all connections: reading the certificates takes milliseconds that all would wait."""
    return gevent.ssl.create_default_context()


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer; header names are looked up in any case."""

    status: int
    body: bytes
    _parsed: Any

    def header(self, name: str) -> str:
        """Return a header's value (the first of several), or an empty text."""
        value = self._parsed.get(name.lower())
        return str(value[0] if isinstance(value, list) else value or "")


class Connection:
    """A connection that opens itself when needed; constructing does no I/O."""

    def __init__(self, host: str, port: int, *, is_tls: bool, timeout_seconds: float) -> None:
        """Keep the address; `timeout_seconds` bounds the connect and each wait for bytes."""
        self._address = (host, port)
        self._is_tls = is_tls
        self._timeout_seconds = timeout_seconds
        self._socket: Any = None
        self._used_at = 0.0

    def exchange(self, request: bytes) -> Answer:
        """Send a whole request and return the whole answer.

        Raises:
            TimeoutError: no bytes came within the timeout.
            BrokenAnswerError: the answer ended early or is not HTTP.
            OSError: the connection could not be made, or was reset.
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
                    raise BrokenAnswerError("the connection ended before the answer was whole")
                parsed.feed(received)
        except HTTPParseError as error:
            raise BrokenAnswerError(f"not an HTTP answer: {error}") from error
        self._used_at = time.perf_counter()
        answer = Answer(parsed.status_code, bytes(parsed._body_buffer), parsed)
        if parsed.should_close():
            self.close()
        return answer
