"""Judge a web server's answer to the download of a dataset: whether it is a file, and what it means if it is not.

A server's own words are not repeated, because they may hold the secrets of the URL; only the code of S3's errors is.
"""

from __future__ import annotations

import re

import httpx

from tasks.run.errors import DownloadFailed
from tasks.run.numbers import whole_number

_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 60.0
_READ_BYTES = 4096
_CODE = re.compile(rb"<Code>([A-Za-z.]{1,60})</Code>")
_EXPIRED = re.compile(
    rb"request has expired|token has expired|ExpiredToken|not valid in the specified time frame", re.I
)
"""How S3, Google's storage and Azure say that a presigned URL has expired."""

_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script")
_IN_A_BROWSER = "check the URL in a browser"


class TemporaryFault(Exception):
    """A failure that a retry may solve; `wait_seconds` is what the server asks to wait before it."""

    def __init__(self, why: str, wait_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds


def refuse_status(answer: httpx.Response, name: str) -> None:
    """Return if the answer brings the file or a part of it; `name` is what errors call the URL.

    Raises:
        TemporaryFault: a later attempt may succeed.
        DownloadFailed: the server refused.
    """
    if answer.status_code in {200, 206}:
        return
    if answer.status_code in _TEMPORARY_STATUSES:
        wait = whole_number(answer.headers.get("Retry-After", "")) or 0
        raise TemporaryFault(f"HTTP {answer.status_code}", min(float(wait), _LONGEST_WAIT_SECONDS))
    body = _beginning(answer)
    if _EXPIRED.search(body):
        anew = "make a new URL, and run the same command with it, which goes on with what was downloaded"
        raise DownloadFailed("download", name, "the presigned URL has expired, says the server", anew)
    phrase = httpx.codes.get_reason_phrase(answer.status_code)
    code = _CODE.search(body)
    why = f"the server answered HTTP {answer.status_code} {phrase}".rstrip()
    raise DownloadFailed("download", name, why + (f" ({code[1].decode()})" if code else ""), _IN_A_BROWSER)


def require_file(beginning: bytes, answer: httpx.Response, name: str) -> None:
    """Return if the first bytes of an answer are not those of a web page.

    Raises:
        DownloadFailed: they are.
    """
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:20].lower()
    is_said = "html" in answer.headers.get("Content-Type", "").lower()
    if text.startswith(_PAGE) or (is_said and text.startswith(b"<")):
        why = "the server answered with a web page and not with a file; it may want you to sign in or to confirm"
        raise DownloadFailed("download", name, why, "open it in a browser, and give the address of the file itself")


def require_content(size_bytes: int, name: str) -> None:
    """Return if a complete file has content.

    Raises:
        DownloadFailed: it is empty.
    """
    if not size_bytes:
        raise DownloadFailed("download", name, "the server answered with an empty file", _IN_A_BROWSER)


def begins_at(answer: httpx.Response, asked: int) -> int:
    """Return where the answer's bytes begin in the file: at what was asked for, or at 0.

    Raises:
        TemporaryFault: the server sends another range than the one that it was asked for.
    """
    if answer.status_code != 206:
        return 0
    found = re.match(r"bytes (\d{1,18})-", answer.headers.get("Content-Range", f"bytes {asked}-"))
    if found is None or int(found[1]) != asked:
        raise TemporaryFault("the server sent another part of the file than the one that it was asked for")
    return asked


def _beginning(answer: httpx.Response) -> bytes:
    """Return the first bytes of an error's body; nothing if they do not arrive."""
    try:
        return next(answer.iter_raw(_READ_BYTES), b"")
    except httpx.HTTPError:
        return b""
