"""Bound what one answer of a server may take: its whole time, its size, and the pages of a listing.

A read timeout is of one piece, so an answer that drips byte by byte never ends by it, and neither does a listing whose
every page names another one. Here the timeout is of the whole answer, plus a second for each 32 KiB that came; only
the time counts in which it is waited for.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSResponse,
)
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.paginate import PageIterator
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as PieceTimeoutError

from tasks.run.malformed_answers import TOO_LONG, MalformedAnswerError

LEAST_BYTES_PER_SECOND = 32 * 1024
LONGEST_BYTES = 64 * 2**20
"""Of an answer that is read into memory; AWS's own are of some MB at most, and objects are streamed."""

MOST_PAGES = 10_000
LISTING_SECONDS = 900.0
_BUFFER_BYTES = 64 * 1024


class BoundedSocket:
    """A socket whose timeout, while a file made of it is read, is that of all that was read since `begin`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._limit: float | None = inner.gettimeout()
        self.begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin(self) -> None:
        """Begin to count anew: for another answer."""
        self._waited, self._received = 0.0, 0
        self._inner.settimeout(self._limit)

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout of sending and of a whole answer."""
        self._limit = seconds
        self._inner.settimeout(seconds)

    def makefile(self, _: str = "rb", buffering: int | None = None) -> Any:
        """Return a file of the bytes that are received; http.client makes no other."""
        raw = _BoundedFile(self, self._inner.makefile("rb", buffering=0))
        return raw if buffering == 0 else io.BufferedReader(raw, _BUFFER_BYTES)

    def read(self, file: Any, buffer: Any) -> int | None:
        """Read one piece.

        Raises:
            TimeoutError: it did not come in what is left of the answer's time.
        """
        if self._limit is not None:
            left = self._limit + self._received / LEAST_BYTES_PER_SECOND - self._waited
            if left <= 0:
                raise TimeoutError(f"the answer is not whole after {self._waited:.0f} s ({self._received:,} bytes)")
            self._inner.settimeout(min(left, self._limit))
        began = time.monotonic()
        count: int | None = file.readinto(buffer)
        self._waited += time.monotonic() - began
        self._received += count or 0
        return count


class _BoundedFile(io.RawIOBase):
    def __init__(self, bounds: BoundedSocket, file: Any) -> None:
        self._bounds, self._file = bounds, file

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._file.fileno())

    def readinto(self, buffer: Any) -> int | None:
        return self._bounds.read(self._file, buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class BoundedConnection:
    """What makes a connection of http.client one whose answers are bounded, as its first base class."""

    sock: Any

    def connect(self) -> None:
        """Connect, and bound what is read."""
        super().connect()  # type: ignore[misc]
        self.sock = BoundedSocket(self.sock)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        """Begin a request."""
        if isinstance(self.sock, BoundedSocket):
            self.sock.begin()
        super().putrequest(*args, **kwargs)  # type: ignore[misc]


class _Connection(BoundedConnection, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(BoundedConnection, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _SecureConnection


class BoundedClient:
    """The first base class of botocore's clients whose answers are bounded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        endpoint = self._endpoint  # type: ignore[attr-defined]
        endpoint.http_session = _Session(endpoint.http_session)

    def get_paginator(self, operation_name: str) -> Any:
        """Return botocore's paginator, with a bound on the pages."""
        paginator = super().get_paginator(operation_name)  # type: ignore[misc]
        paginator.PAGE_ITERATOR_CLS = _BoundedPages
        return paginator


def add_bounds(base_classes: list[type], **_: Any) -> None:
    """Make a new class of clients a bounded one: a hook ("creating-client-class")."""
    base_classes.insert(0, BoundedClient)


class _Session:
    """botocore's HTTP session; what is not streamed is read here, up to the bound."""

    def __init__(self, session: Any) -> None:
        session._pool_classes_by_scheme.update(http=_Pool, https=_SecurePool)
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def send(self, request: Any) -> Any:
        """Send a request and return its answer."""
        is_streamed, request.stream_output = request.stream_output, True
        response = self._session.send(request)
        request.stream_output = is_streamed
        if not is_streamed or response.status_code >= 300:
            _read(response, str(request.url))
        return response


def _read(response: AWSResponse, url: str) -> None:
    """Read an answer's body; one that is too long is marked as malformed, and its connection closed."""
    pieces, size_bytes = [], 0
    try:
        for piece in response.raw.stream():
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > LONGEST_BYTES:
                response.headers[TOO_LONG] = f"{LONGEST_BYTES:,}"
                del pieces[1:]
                response.raw.close()
                break
    except (PieceTimeoutError, TimeoutError) as error:
        raise ReadTimeoutError(endpoint_url=url, error=error) from error
    except (HTTPError, OSError) as error:
        raise ConnectionClosedError(endpoint_url=url, error=error) from error
    response._content = b"".join(pieces)


class PageBounds:
    """The bounds of one listing: each page is named by a token that no earlier page named, and pages and time end."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._waited = 0.0

    def timed(self, ask: Callable[[], Any]) -> Any:
        """Return the page that `ask` returns, whose time counts."""
        began = time.monotonic()
        page = ask()
        self._waited += time.monotonic() - began
        return page

    def check(self, client: Any, method: str, token: Mapping[str, Any]) -> None:
        """Return if the page that a token names may be asked for by this method of the client.

        Raises:
            MalformedAnswerError: it may not.
        """
        problem = self._problem(token)
        if problem is None:
            return
        name, url = client.meta.method_to_api_mapping[method], client.meta.endpoint_url
        raise MalformedAnswerError(operation=name, endpoint_url=url, status=200, problem=problem)

    def _problem(self, token: Mapping[str, Any]) -> str | None:
        named = {key: value for key, value in token.items() if value is not None}
        if not named:
            return None
        text = repr(sorted(named.items()))
        if not all(isinstance(value, str) for value in named.values()):
            return f"its next page is named {text:.120}, which is no text"
        if text in self._named:
            return f"its next page is one that was read already ({text:.120})"
        self._named.add(text)
        if len(self._named) >= MOST_PAGES or self._waited > LISTING_SECONDS:
            return f"there is another page after {len(self._named):,}, which took {self._waited:.0f} s"
        return None


class _BoundedPages(PageIterator):  # type: ignore[misc]
    """Pages of a listing of botocore's, within bounds."""

    def __iter__(self) -> Iterator[Any]:
        self._bounds = PageBounds()
        return iter(super().__iter__())

    def _make_request(self, current_kwargs: Any) -> Any:
        ask = super()._make_request
        return self._bounds.timed(lambda: ask(current_kwargs))

    def _get_next_token(self, parsed: Mapping[str, Any]) -> Any:
        token = super()._get_next_token(parsed)
        self._bounds.check(self._method.__self__, self._method.__name__, token)
        return token
