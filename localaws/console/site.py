"""Answers the console's addresses: documents, files of its own, and the streams that keep documents up to date.

Below the token: `PAGE?query` is a page, `live/PAGE?query` its stream, `still/PAGE?query` the page as one file without a
stream, `static/NAME` a file.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from importlib import resources
from itertools import chain
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from localaws.console.access import HEADERS, ConsoleRoute
from localaws.console.account import Account
from localaws.console.broadcast import Broadcaster
from localaws.console.masking import Mask
from localaws.console.pages import PAGES, Missing, Page
from localaws.console.rendering import Renderer
from localaws.console.still import Still
from localaws.core import Core

KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LONGEST_QUERY = 4_096


class Console:
    """The console of one server. `own_secrets`: what it must never show, beside the keys that IAM and STS issue."""

    def __init__(self, core: Core, token: str, own_secrets: tuple[str, ...] = ()) -> None:
        self._account = Account(core)
        known = (token, *own_secrets)
        self._render = Renderer(Mask(lambda: chain(known, self._account.secrets())))
        self._broadcaster = Broadcaster(self._fragment)
        self._files = dict(_files())
        self._still = Still(self._files)
        self.route = ConsoleRoute(self._answer, token)

    def close(self) -> None:
        """End the streams, for which a server that stops would wait."""
        self._broadcaster.close()

    async def _answer(self, request: Request) -> Response:
        _, separator, rest = request.path_params["rest"].partition("/")
        if not separator:
            return RedirectResponse(f"{request.url.path}/", 308, HEADERS)
        folder, _, name = rest.rpartition("/")
        if folder == "static" and name in self._files:
            content, kind = self._files[name]
            return Response(content, 200, HEADERS, kind)
        answers = {"": self._document, "live": self._stream, "still": self._as_file}
        if folder not in answers or name not in PAGES or len(request.url.query) > LONGEST_QUERY:
            return PlainTextResponse("the console has no such page\n", 404, HEADERS)
        return await answers[folder](name, request.url.query)

    async def _document(self, name: str, query: str) -> Response:
        try:
            html = await run_in_threadpool(self._whole, name, query)
        except Missing as missing:
            values = {"page": PAGES[name], "pages": PAGES, "template": "gone.html", "live": "", "what": str(missing)}
            return HTMLResponse(self._render("frame.html", values), 404, HEADERS)
        return HTMLResponse(html, 200, HEADERS)

    async def _as_file(self, name: str, query: str) -> Response:
        try:
            html = await run_in_threadpool(self._one_file, name, query)
        except Missing as missing:
            return PlainTextResponse(f"there is no {missing}\n", 404, HEADERS)
        policy = f"{self._still.policy}; frame-ancestors 'none'"
        return HTMLResponse(html, 200, {**HEADERS, "Content-Security-Policy": policy})

    async def _stream(self, name: str, query: str) -> Response:
        if self._broadcaster.is_full:
            return PlainTextResponse("the console has too many viewers\n", 503, HEADERS)

        async def events() -> AsyncIterator[str]:
            yield ":\n\n"  # the page is told that it is connected
            async with aclosing(self._broadcaster.follow(name, query)) as stream:
                async for html in stream:
                    yield _event(html)

        return StreamingResponse(events(), 200, HEADERS, "text/event-stream")

    def _whole(self, name: str, query: str) -> str:
        page = PAGES[name]
        live = f"live/{name}?{query}" if page.is_live else ""
        values = {"page": page, "pages": PAGES, "template": page.template, "live": live, **self._values(page, query)}
        return self._render("frame.html", values)

    def _one_file(self, name: str, query: str) -> str:
        page, now = PAGES[name], datetime.now(UTC)
        values = self._values(page, query)
        fragment = self._render(page.template, values)
        return self._render("still.html", {"page": page, "now": now, **values, **self._still.values(fragment)})

    def _fragment(self, name: str, query: str) -> str:
        try:
            return self._render(PAGES[name].template, self._values(PAGES[name], query))
        except Missing as missing:
            return self._render("gone.html", {"what": str(missing)})

    def _values(self, page: Page, query: str) -> dict[str, object]:
        given = dict(parse_qsl(query))
        settings = self._account.core.settings
        return {"query": given, "settings": settings, **page.values(self._account, given)}


def _event(html: str) -> str:
    """Return a message of a stream, in which a line of text is a line of data."""
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


def _files() -> Iterator[tuple[str, tuple[bytes, str]]]:
    for file in resources.files("localaws.console").joinpath("static").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in KINDS:
            yield file.name, (file.read_bytes(), KINDS[suffix])
