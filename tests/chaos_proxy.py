"""A TCP proxy on loopback that can be told to misbehave, at any moment and from any thread.

Covered: slow links, refused connections, servers that accept and say nothing, connections that are reset (at once, or
after so many bytes one way), and links that silently swallow everything. Not covered: lost packets (the
kernel that runs the tests has no netem), so a swallowed byte is still acknowledged by the proxy's own kernel.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

Answer = TypeVar("Answer")
PIECE_BYTES = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ChaosProxy:
    """Passes connections on to `target`, until told otherwise; used with `with`.

    `delay_seconds` holds each piece back; `reset_after_bytes` resets a connection once so many went one way.
    Both may be changed at any time and hold for open connections too. What a blackhole swallowed does not come back.
    """

    def __init__(self, target: tuple[str, int], *, address: str = "127.0.0.1") -> None:
        self.target, self.address, self.port = target, address, 0
        self.accepted = 0
        self.delay_seconds = 0.0
        self.reset_after_bytes: int | None = None
        self._is_hanging = self._is_black = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self.pass_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def pass_on(self) -> None:
        """Behave, for connections to come and for open ones."""
        self._is_hanging = self._is_black = False
        self._do(self._listen())

    def refuse(self) -> None:
        """Close the port: the next connect is refused. Open connections stay."""
        self._do(self._stop_listening())

    def hang(self) -> None:
        """Accept the next connections and say nothing, as a server that is too busy for its banner."""
        self._is_hanging = True

    def blackhole(self) -> None:
        """Swallow every byte of open and coming connections, in both directions, without a word to either side."""
        self._is_black = True

    def reset(self) -> None:
        """Reset all open connections now."""
        self._do(self._reset_all())

    def _do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.address, self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def _end(self) -> None:
        await self._stop_listening()
        await self._reset_all()
        ours = asyncio.all_tasks() - {asyncio.current_task()}
        if ours:
            await asyncio.wait(ours, timeout=5)  # their connections are gone, so they end

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with self._kept(writer):
            if self._is_hanging or self._is_black:
                await self._swallow(reader)
                return
            upstream_reader, upstream = await asyncio.open_connection(*self.target)
            with self._kept(upstream):
                to, back = self._pump(reader, upstream, writer), self._pump(upstream_reader, writer, upstream)
                await asyncio.gather(to, back)

    @contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        except OSError:
            _reset(writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await source.read(PIECE_BYTES):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if self._is_black:
                continue
            limit = self.reset_after_bytes
            sink.write(data if limit is None else data[: max(0, limit - passed)])
            passed += len(data)
            if limit is not None and passed >= limit:
                with contextlib.suppress(OSError):
                    await sink.drain()
                _reset(back)
                _reset(sink)
                return
            await sink.drain()
        if not self._is_black and sink.can_write_eof():
            sink.write_eof()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(PIECE_BYTES):
            pass


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN, dropping what was not sent."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
