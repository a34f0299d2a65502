"""Download a dataset by its URL (http or https): resume an interrupted download, and do not fetch a file twice.

`.kennel/downloads/<hash of the URL>/` has the growing `.part` file, the complete file, and a small record with the
server's ETag or date. The missing part is requested with Range and If-Range, so that a file that changed on the server
is downloaded from the beginning. Files and messages have the URL's name, without user info and query, and the folder's
hash leaves signatures out, so that a URL that is signed anew resumes the download.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx

from tasks.run.errors import DownloadFailed, SourceRefused
from tasks.run.progress import ProgressFactory
from tasks.run.record_store import write_atomically
from tasks.run.settings import Settings
from tasks.run.source_name import source_identity, source_name

REFERENCE_URL = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
"""The reference dataset, with 8,351 photos of 133 dog breeds (1.1 GB)."""

_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class DownloadRecord:
    """The state of a download; `sha256` is None until it is complete.

    `url` is the URL's name, and `validator` is the server's ETag or date.
    """

    url: str
    validator: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None


class _TemporaryFault(Exception):
    """A failure that a retry may solve."""


def download(
    url: str,
    settings: Settings,
    progress: ProgressFactory,
    *,
    expected_sha256: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
    transport: httpx.BaseTransport | None = None,
) -> Path:
    """Download a URL and return the complete local file; a file that is unchanged on the server is not fetched again.

    Raises:
        SourceRefused: the URL is malformed or has no host, or the file's sha256 is not the expected one.
        DownloadFailed: the server refused the request, the file is too large, or all attempts failed.
    """
    _check(url)
    folder = settings.home / "downloads" / hashlib.sha256(source_identity(url).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    timeout = httpx.Timeout(settings.download_timeout_seconds)
    with httpx.Client(follow_redirects=True, max_redirects=5, timeout=timeout, transport=transport) as client:
        fetch = _Fetch(client, url, folder, progress, settings.max_archive_bytes)
        for attempt in range(1, settings.download_attempts + 1):
            try:
                return _checked(fetch.run(), fetch.record, expected_sha256)
            except (httpx.TransportError, _TemporaryFault) as error:
                if attempt == settings.download_attempts:
                    why = f"{attempt} attempts failed, the last with: {error or type(error).__name__}"
                    resumed = "run the same command again, which resumes the download"
                    raise DownloadFailed("download", source_name(url), why, resumed) from error
                sleep(min(30.0, 0.5 * 2**attempt))
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_download_record(path: Path) -> DownloadRecord | None:
    """Return the record of a file that `download` returned, or None for any other file."""
    record = path.parent / "download.json"
    return DownloadRecord(**json.loads(record.read_bytes())) if record.exists() else None


class _Fetch:
    """The local state of one download, and an attempt to complete it."""

    def __init__(self, client: httpx.Client, url: str, folder: Path, progress: ProgressFactory, max_bytes: int) -> None:
        self._client, self._url, self._progress, self._max_bytes = client, url, progress, max_bytes
        self._name = source_name(url)
        self._path = folder / (PurePosixPath(unquote(urlsplit(self._name).path)).name or "data.zip")[-100:]
        self._part = self._path.with_name(self._path.name + ".part")
        self.record = read_download_record(self._path) or DownloadRecord(self._name)

    def run(self) -> Path:
        """Complete the file and return its path, or raise the error that stopped it."""
        done = self._part.stat().st_size if self._part.exists() else 0
        is_complete = self._path.exists() and self.record.sha256 is not None
        with self._client.stream("GET", self._url, headers=self._headers(done, is_complete=is_complete)) as answer:
            if answer.status_code == 304 and is_complete:
                return self._path
            if answer.status_code == 416 and done:
                self._part.unlink()
                raise _TemporaryFault("the server's file is shorter than the part that was downloaded")
            self._refuse(answer)
            self._receive(answer, done if answer.status_code == 206 else 0)
        return self._finish()

    def _headers(self, done: int, *, is_complete: bool) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        validator = self.record.validator
        if validator is None:
            return headers  # without a validator the part cannot be resumed
        if is_complete:
            kind = "If-None-Match" if validator.startswith(('"', "W/")) else "If-Modified-Since"
            return {**headers, kind: validator}
        return {**headers, "Range": f"bytes={done}-", "If-Range": validator} if done else headers

    def _refuse(self, answer: httpx.Response) -> None:
        if answer.status_code in _TEMPORARY_STATUSES:
            raise _TemporaryFault(f"HTTP {answer.status_code}")
        if answer.status_code not in {200, 206}:
            why = f"the server answered HTTP {answer.status_code} {answer.reason_phrase}"
            raise DownloadFailed("download", self._name, why, "check the URL in a browser")

    def _receive(self, answer: httpx.Response, done: int) -> None:
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        validator = _strong_validator(answer.headers.get("ETag")) or answer.headers.get("Last-Modified")
        self.record = DownloadRecord(self._name, validator, total)
        self._save()
        with self._part.open("r+b" if done else "wb") as file, self._progress("download", total, "B") as counter:
            file.seek(done)
            counter.advance(done)
            for data in answer.iter_raw():
                file.write(data)
                counter.advance(len(data))
                if file.tell() > self._max_bytes:
                    why = f"it is larger than KENNEL_MAX_ARCHIVE_BYTES={self._max_bytes}"
                    raise DownloadFailed("download", self._name, why, "raise the limit if you trust the source")
            file.flush()
            os.fsync(file.fileno())
            if total is not None and file.tell() != total:
                raise _TemporaryFault(f"only {file.tell()} of {total} bytes were received")

    def _finish(self) -> Path:
        digest = sha256_of(self._part)
        self._part.replace(self._path)
        self.record = replace(self.record, sha256=digest, size_bytes=self._path.stat().st_size)
        self._save()
        return self._path

    def _save(self) -> None:
        write_atomically(self._path.parent / "download.json", json.dumps(asdict(self.record)).encode())


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file, which is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(url: str) -> None:
    try:
        is_usable = bool(httpx.URL(url).host and urlsplit(url).hostname)
    except (httpx.InvalidURL, ValueError):  # their messages may repeat a password
        is_usable = False
    if not is_usable:
        why = "it is not a URL with a host and a valid port"
        raise SourceRefused("download", source_name(url), why, "give another URL")


def _checked(path: Path, record: DownloadRecord, expected_sha256: str | None) -> Path:
    if expected_sha256 is not None and record.sha256 != expected_sha256.lower():
        why = f"its sha256 is {record.sha256}, not {expected_sha256}: it is another file, or it is damaged"
        raise SourceRefused("download", f"{path}", why, f"remove {path.parent} and run the same command again")
    return path


def _strong_validator(etag: str | None) -> str | None:
    """Return the ETag if it is strong, else None; If-Range needs a strong validator (RFC 9110, 13.1.5)."""
    return None if etag is None or etag.startswith("W/") else etag
