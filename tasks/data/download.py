"""Download a dataset by its URL (http or https): resume an interrupted download, and do not fetch a file twice.

`.kennel/downloads/<hash of the URL>/` has the growing `.part` file, the complete file, and a small record with the
server's ETag or date and the sha256 of either, which is checked before the file or the part is used. The missing part
is requested with Range and If-Range, so that a file that changed on the server is downloaded from the beginning. Files
and messages have the URL's name (`tasks.run.source_name`), and the folder's hash leaves signatures out, so that a URL
that is signed anew resumes the download.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import httpx

from tasks.data.web_answers import TemporaryFault, begins_at, refuse_status, require_content, require_file
from tasks.run.disk import disk_boundary
from tasks.run.errors import DiskFailed, DownloadFailed, SourceRefused
from tasks.run.numbers import whole_number
from tasks.run.own_files import ANEW, APPEND, open_own
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, read_regular, seal, sha256_of, unseal
from tasks.run.settings import Settings
from tasks.run.source_name import MALFORMED, UNREADABLE, is_url, source_identity, source_name
from tasks.run.waiting import say

REFERENCE_URL = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
"""The reference dataset, with 8,351 photos of 133 dog breeds (1.1 GB)."""

RECORD = "download.json"
CHECKED_BYTES = 16 * 2**20
"""After so many bytes the record gets the sha256 of the part, which is checked before the download is resumed."""

_FINAL = (
    *(httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.DecodingError, httpx.InvalidURL),
    *(httpx.LocalProtocolError, UnicodeError),
)
"""What a URL or a redirect makes a client raise, whenever it is tried; UnicodeError is of names in other scripts."""


@dataclass(frozen=True)
class DownloadRecord:
    """The state of a download; `sha256` is None until it is complete.

    `url` is the URL's name, `validator` is the server's ETag or date, and `part_sha256` is the sha256 of the first
    `part_bytes` bytes of a part.
    """

    url: str
    validator: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    part_bytes: int = 0
    part_sha256: str | None = None


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

    `expected_sha256` may be the beginning of the sha256.

    Raises:
        SourceRefused: the URL is malformed or has no host, or the file's sha256 is not the expected one.
        DownloadFailed: the server refused the request, the file is too large, or all attempts failed.
        DiskFailed: the file cannot be written; what was received stays, and the next command resumes.
    """
    _check(url)
    folder = download_folder(url, settings)
    with disk_boundary("download", folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    timeout = httpx.Timeout(settings.download_timeout_seconds)
    hooks = {"response": [_check_redirect]}
    with httpx.Client(
        follow_redirects=True, max_redirects=5, timeout=timeout, transport=transport, event_hooks=hooks
    ) as client:
        fetch = _Fetch(client, url, folder, progress, settings.max_archive_bytes)
        for attempt in range(1, settings.download_attempts + 1):
            try:
                return _checked(fetch.run(), fetch.record, expected_sha256)
            except _FINAL as error:
                why = f"it leads to no file: {error or type(error).__name__}"
                raise DownloadFailed("download", source_name(url), why, "check the URL in a browser") from error
            except (httpx.TransportError, TemporaryFault) as error:
                if _is_untrusted(error):
                    why = f"the server's certificate is not valid: {error}"
                    raise DownloadFailed("download", source_name(url), why, "check the URL in a browser") from error
                if attempt == settings.download_attempts:
                    why = f"{attempt} attempts failed, the last with: {error or type(error).__name__}"
                    raise DownloadFailed("download", source_name(url), why, fetch.next_command) from error
                asked = error.wait_seconds if isinstance(error, TemporaryFault) else 0.0
                pause = max(min(30.0, 0.5 * 2**attempt), asked)
                say(f"download: attempt {attempt} failed ({error or type(error).__name__}); again in {pause:.0f} s")
                sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")


def download_folder(url: str, settings: Settings) -> Path:
    """Return the folder of a URL's file and its record in the home."""
    return settings.home / "downloads" / hashlib.sha256(source_identity(url).encode()).hexdigest()[:16]


def read_download_record(path: Path) -> DownloadRecord | None:
    """Return the record of a file that `download` returned; None for any other file, or (logged) if it is damaged."""
    record = path.parent / RECORD
    try:
        return DownloadRecord(**unseal(read_regular(record))) if record.exists() else None
    except (Damaged, TypeError) as error:
        say(f"WARNING: {record} is not used, and the file is downloaded anew: {error}")
        return None


class _Fetch:
    """The local state of one download, and an attempt to complete it."""

    def __init__(self, client: httpx.Client, url: str, folder: Path, progress: ProgressFactory, max_bytes: int) -> None:
        self._client, self._url, self._progress, self._max_bytes = client, url, progress, max_bytes
        self._name = source_name(url)
        self._path = folder / _file_name(self._name)
        self._part = self._path.with_name(self._path.name + ".part")
        self.record = read_download_record(self._path) or DownloadRecord(self._name)

    def run(self) -> Path:
        """Complete the file and return its path, or raise the error that stopped it."""
        done = self._checked_part()
        is_complete = self._is_whole()
        with self._client.stream("GET", self._url, headers=self._headers(done, is_complete=is_complete)) as answer:
            if answer.status_code == 304 and is_complete:
                return self._path
            if answer.status_code == 416 and done:
                self._part.unlink()
                raise TemporaryFault("the server's file is shorter than the part that was downloaded")
            refuse_status(answer, self._name)
            begin = begins_at(answer, done)
            if done and not begin:
                say(f"download: {self._why_from_the_beginning()}, so it is downloaded from its beginning")
            self._receive(answer, begin)
        return self._finish()

    @property
    def next_command(self) -> str:
        """What to do after the last attempt."""
        again = "run the same command again"
        if not self.record.part_bytes:
            return again
        return f"{again}, which {'resumes the download' if self.record.validator else 'begins it anew'}"

    def _why_from_the_beginning(self) -> str:
        if self.record.validator is None:
            return "the server gives the file no ETag and no date, by which a part could be continued"
        return "the server sends no parts of the file, or the file has changed"

    def _headers(self, done: int, *, is_complete: bool) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        validator = self.record.validator
        if validator is None:
            return headers  # without a validator the part cannot be resumed
        if is_complete:
            kind = "If-None-Match" if validator.startswith(('"', "W/")) else "If-Modified-Since"
            return {**headers, kind: validator}
        return {**headers, "Range": f"bytes={done}-", "If-Range": validator} if done else headers

    def _receive(self, answer: httpx.Response, done: int) -> None:
        length = whole_number(answer.headers.get("Content-Length", ""))
        total = done + length if length else None
        validator = _strong_validator(answer.headers.get("ETag")) or answer.headers.get("Last-Modified")
        self.record = DownloadRecord(self._name, validator, total)
        needed = None if total is None else total - done
        with disk_boundary("download", self._part, needed), self._progress("download", total, "B") as counter:
            counter.advance(done)
            received = self._append(answer, done, counter)
        if total is not None and received != total:
            raise TemporaryFault(f"only {received} of {total} bytes were received")
        require_content(received, self._name)

    def _append(self, answer: httpx.Response, done: int, counter: Progress) -> int:
        """Write the answer after the first `done` bytes of the part; return the part's size."""
        with os.fdopen(open_own(self._part, APPEND if done else ANEW), "ab") as file:
            digest = self._digest_of_part() if done else hashlib.sha256()
            size = saved = done
            try:
                for data in answer.iter_raw():
                    if not size:
                        require_file(data, answer, self._name)
                    file.write(data)
                    digest.update(data)
                    size += len(data)
                    counter.advance(len(data))
                    if size > self._max_bytes:
                        why = f"it is larger than KENNEL_MAX_ARCHIVE_BYTES={self._max_bytes}"
                        more = "export KENNEL_MAX_ARCHIVE_BYTES=<more>, if you trust the source"
                        raise DownloadFailed("download", self._name, why, more)
                    if size - saved >= CHECKED_BYTES:
                        saved = size
                        self._save_part(file, size, digest.hexdigest())
            except BaseException:
                with suppress(OSError, DiskFailed):  # on a full disk the part is good up to what was saved before
                    self._save_part(file, size, digest.hexdigest())
                raise
            self._save_part(file, size, digest.hexdigest())
            return size

    def _digest_of_part(self) -> Any:
        with self._part.open("rb") as file:
            return hashlib.file_digest(file, "sha256")

    def _save_part(self, file: BinaryIO, size: int, digest: str) -> None:
        """Write the part's first `size` bytes to the disk, and then their sha256 to the record."""
        file.flush()
        os.fsync(file.fileno())
        self.record = replace(self.record, part_bytes=size, part_sha256=digest)
        self._save()

    def _checked_part(self) -> int:
        """Cut the part to the bytes that the record has a sha256 of, and return their number; 0 if they are damaged."""
        if not self._part.exists():
            return 0
        size = self.record.part_bytes
        with disk_boundary("download", self._part):
            os.truncate(self._part, max(size, 0))
        if size > 0 and sha256_of(self._part) == self.record.part_sha256:
            return size
        if size > 0:
            say(f"WARNING: {self._part} is damaged, and the file is downloaded from its beginning")
        return 0

    def _is_whole(self) -> bool:
        """Tell whether the file is complete and has the sha256 that it was downloaded with."""
        if self.record.sha256 is None or not self._path.exists():
            return False
        if sha256_of(self._path) == self.record.sha256:
            return True
        say(f"WARNING: {self._path} is damaged, and it is downloaded anew")
        return False

    def _finish(self) -> Path:
        digest = self.record.part_sha256 or sha256_of(self._part)
        self._part.replace(self._path)
        self.record = DownloadRecord(self._name, self.record.validator, self._path.stat().st_size, digest)
        self._save()
        return self._path

    def _save(self) -> None:
        write_atomically(self._path.parent / RECORD, seal(asdict(self.record)))


def _file_name(name: str) -> str:
    """Return what the file of a URL's name is called on this machine."""
    last = PurePosixPath(unquote(urlsplit(name).path)).name
    return "data.zip" if last in {"", MALFORMED} else last[-100:]


def _check(url: str) -> None:
    if source_name(url).endswith(f"://{MALFORMED}") or not _has_host(url):
        why = "it is not a URL with a host and a valid port; write an @ that stands behind the host as %40"
        raise SourceRefused("download", source_name(url), why, "give another URL")


def _has_host(url: str) -> bool:
    """Tell whether a URL has a host and a port that there can be; httpx is content with less."""
    try:
        parts = urlsplit(url)
        is_named = re.search(r"[\s\x00-\x20\x7f]", parts.netloc) is None
        return bool(is_named and httpx.URL(url).host and parts.hostname and parts.port != 0)
    except (httpx.InvalidURL, ValueError):  # their messages may repeat a password
        return False


def _check_redirect(answer: httpx.Response) -> None:
    """Refuse a redirect to anything but a path or a whole URL, before httpx repeats it in an error; a client's hook.

    Raises:
        InvalidURL: the Location is no path of this server, nor an http or https URL with a host and a valid port.
    """
    location = str(answer.headers.get("Location", ""))
    whole = f"{answer.url.scheme}:{location}" if location.startswith("//") else location
    is_path = re.match(r"[a-z][a-z0-9+.-]*:|[\s\\]", whole, re.IGNORECASE) is None
    if answer.has_redirect_location and not is_path and not (is_url(whole) and _has_host(whole)):
        named = source_name(whole)
        shown = repr(named) if is_url(named) else UNREADABLE
        raise httpx.InvalidURL(f"the server redirects to {shown}, which has no host or no valid port")


def _is_untrusted(error: BaseException) -> bool:
    """Tell whether a server's certificate was refused, which it is whenever it is tried."""
    causes = (error.__cause__, error.__context__)
    return isinstance(error, ssl.SSLCertVerificationError) or any(each and _is_untrusted(each) for each in causes)


def _checked(path: Path, record: DownloadRecord, expected_sha256: str | None) -> Path:
    if expected_sha256 is not None and not str(record.sha256).startswith(expected_sha256.lower()):
        why = f"its sha256 is {record.sha256}, not {expected_sha256}: it is another file, or it is damaged"
        raise SourceRefused("download", f"{path}", why, f"remove {path.parent} and run the same command again")
    return path


def _strong_validator(etag: str | None) -> str | None:
    """Return the ETag if it is strong, else None; If-Range needs a strong validator (RFC 9110, 13.1.5)."""
    return None if etag is None or etag.startswith("W/") else etag
