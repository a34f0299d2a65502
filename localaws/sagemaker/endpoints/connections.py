"""Keep-alive HTTP/1.1 connections to one model server, with a parser in C and one request at a time on each connection.

A pool belongs to one event loop. It has as many connections as there are requests at once, and reuses the one that was
used last.
"""

import asyncio
from dataclasses import dataclass

import httptools

MAX_REPLY_BYTES = 25 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """What a model server answered. Header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class ConnectFailed(Exception):
    """The connection failed: the request was not sent, so another instance may have it."""


class ConnectionLost(Exception):
    """The connection ended, or spoke no HTTP, after the request was sent: it may or may not have been handled."""


class ConnectionPool:
    """The connections to 127.0.0.1:`port`; `header`, a line with its end, is added to each head."""

    def __init__(self, port: int, header: bytes = b"") -> None:
        self._port = port
        self._end = header + b"\r\n"
        self._idle: list[_Connection] = []

    async def exchange(self, head: bytes, body: bytes) -> Reply:
        """Send a request and return its reply; cancelling closes the connection.

        Raises:
            ConnectFailed: no connection could be made.
            ConnectionLost: there was one and it broke.
        """
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            reply = await connection.send(head[:-2] + self._end, body)
        except BaseException:
            connection.close()
            raise
        if connection.is_reusable:
            self._idle.append(connection)
        return reply

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(loop, self._idle), "127.0.0.1", self._port)
        except OSError as error:
            raise ConnectFailed(str(error)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection; `httptools` calls the `on_…` methods."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle: list["_Connection"]) -> None:
        self._loop = loop
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self.is_reusable = False

    def send(self, head: bytes, body: bytes) -> "asyncio.Future[Reply]":
        """Start an exchange; the future has its reply, or `ConnectionLost`."""
        self._waiter = waiter = self._loop.create_future()
        self._headers, self._chunks, self._size = {}, [], 0
        self.is_reusable = False
        if self._transport is None or self._transport.is_closing():
            self._fail("the connection was closed")
        else:
            self._transport.write(head + body if len(body) < 65_536 else head)
            if len(body) >= 65_536:
                self._transport.write(body)
        return waiter

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.is_reusable = False
        if self in self._idle:
            self._idle.remove(self)
        self._fail(f"the connection was lost: {exc or 'closed by the container'}")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_REPLY_BYTES:
            self._fail(f"the answer has more than {MAX_REPLY_BYTES:,} bytes")
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self.close()
            return
        self.is_reusable = self._parser.should_keep_alive()
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        waiter.set_result(Reply(self._parser.get_status_code(), self._headers, body))
        if not self.is_reusable:
            self.close()

    def _fail(self, reason: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionLost(reason))
        self.close()
