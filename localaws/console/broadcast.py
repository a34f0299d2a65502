"""Sends the pages that people look at again when they changed: one loop for all viewers, at most once a second.

A page is rendered once for all who look at the same one. Without viewers there is no loop.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable

from starlette.concurrency import run_in_threadpool

PAUSE_SECONDS = 1.0
MOST_VIEWERS = 50
NOT_RENDERED = "<p>This page could not be made; localaws's log says why.</p>"


class Broadcaster:
    """Renders what is viewed with `render`, in a thread. Used on the event loop only."""

    def __init__(self, render: Callable[[str, str], str], pause_seconds: float = PAUSE_SECONDS) -> None:
        self._render, self._pause = render, pause_seconds
        self._viewers: dict[asyncio.Queue[str | None], tuple[str, str]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more viewer."""
        return len(self._viewers) >= MOST_VIEWERS

    async def follow(self, page: str, query: str) -> AsyncGenerator[str, None]:
        """Yield a page's HTML, then again each time that it has changed, until the server ends."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._viewers[queue] = (page, query)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._broadcast())
        try:
            while not self._is_closed:
                html = await queue.get()
                if html is None or self._is_closed:  # a server that ends waits for what is sent
                    return
                yield html
        finally:
            del self._viewers[queue]

    def close(self) -> None:
        """Have every viewer's stream end."""
        self._is_closed = True
        for queue in self._viewers:
            queue.put_nowait(None)

    async def _broadcast(self) -> None:
        shown: dict[asyncio.Queue[str | None], str] = {}
        while self._viewers and not self._is_closed:
            for viewed in set(self._viewers.values()):
                html = await self._rendered(*viewed)
                for queue in [each for each, what in self._viewers.items() if what == viewed]:
                    if shown.get(queue) != html and queue.empty():
                        shown[queue] = html
                        queue.put_nowait(html)
            shown = {queue: html for queue, html in shown.items() if queue in self._viewers}
            await asyncio.sleep(self._pause)

    async def _rendered(self, page: str, query: str) -> str:
        try:
            return await run_in_threadpool(self._render, page, query)
        except Exception as error:  # noqa: BLE001 what is wrong with one page must not end the loop of the others
            print(f"localaws: the console's page {page!r} was not rendered: {error!r}", file=sys.stderr)
            return NOT_RENDERED
