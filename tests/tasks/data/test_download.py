"""Tests of downloads from a real server on loopback: they are resumed, checked and not repeated."""

import base64
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.data.download import download, read_download_record
from tasks.run.errors import DownloadFailed, SourceRefused
from tasks.run.progress import LineProgress
from tasks.run.sealed import sha256_of
from tasks.run.settings import Settings
from tests.http_server import serving

CONTENT = bytes(range(256)) * 4000


@dataclass
class Site:
    """A server with one file; each answer ends after `cut_after` bytes, and `status`, if set, is every answer."""

    content: bytes = CONTENT
    etag: str = '"v1"'
    cut_after: int | None = None
    status: int | None = None
    location: str = ""
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    asked: list[tuple[str | None, str]] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"] if self.headers["If-Range"] == state.etag else None
            state.ranges.append(asked)
            begin = int(re.findall(r"\d+", asked)[0]) if asked else 0
            state.asked.append((self.headers["Authorization"], self.path.partition("?")[2]))
            unchanged = self.headers["If-None-Match"] == state.etag
            self.send_response(state.status or (304 if unchanged else 206 if asked else 200))
            self.send_header("ETag", state.etag)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", str(0 if unchanged or state.status else len(state.content) - begin))
            self.end_headers()
            if not unchanged and not state.status:
                end = len(state.content) if state.cut_after is None else begin + state.cut_after
                self.wfile.write(state.content[begin:end])

    with serving(Handler) as url:
        state.url = f"{url}/my%20photos.zip"
        yield state


def get(site: Site, home: Path, **more: Any) -> Path:
    return download(site.url, Settings(home=home), LineProgress, sleep=lambda _: None, **more)


def test_a_download_that_is_cut_again_and_again_is_resumed_until_it_is_whole(site: Site, tmp_path: Path) -> None:
    site.cut_after = 300_000
    path = get(site, tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.name == "my photos.zip"
    assert site.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_file_that_changed_in_between_is_begun_anew(site: Site, tmp_path: Path) -> None:
    site.cut_after = 500_000
    with pytest.raises(DownloadFailed, match="1 attempts failed"):
        download(site.url, Settings(home=tmp_path, download_attempts=1), LineProgress)
    site.content, site.etag, site.cut_after = b"new" * 100_000, '"v2"', None
    assert get(site, tmp_path).read_bytes() == site.content


def test_an_unchanged_file_is_not_sent_again(site: Site, tmp_path: Path) -> None:
    first = get(site, tmp_path)
    site.cut_after = 0
    assert get(site, tmp_path) == first
    record = read_download_record(first)
    assert record is not None
    assert record.sha256 == sha256_of(first)


def test_another_sha256_than_expected_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"its sha256 is .*, not 00ff: it is another file"):
        get(site, tmp_path, expected_sha256="00ff")


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 5)])
def test_refusals_are_final_and_passing_faults_are_tried_a_bounded_number_of_times(
    site: Site, tmp_path: Path, status: int, requests: int
) -> None:
    site.status = status
    with pytest.raises(DownloadFailed, match=f"HTTP {status}"):
        get(site, tmp_path)
    assert len(site.ranges) == requests


def test_a_file_beyond_the_limit_stops(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="KENNEL_MAX_ARCHIVE_BYTES=2000"):
        download(site.url, Settings(home=tmp_path, max_archive_bytes=2000), LineProgress)


@pytest.mark.parametrize(
    ("location", "requests"),
    [
        ("/again.zip", 6),
        ("ftp://example.invalid/x.zip", 1),
        ("http://[::1/x.zip", 1),
        ("http://127.0.0.1:99999/x.zip", 1),
        ("http://:s3cret@/x.zip", 1),
        ("http://127.0.0.1:port/x.zip?Signature=s3cret", 1),
        ("http://", 1),
        ("http:///x.zip", 1),
        ("//", 1),
        ("mailto:me", 1),
        ("http://a b/x.zip", 1),
        ("http://\x7f/x.zip", 1),
        ("https:me:s3cret@host/x", 1),
        ("https:\\\\me:s3cret@host", 1),
        ("http://me:s3/cret@host/x", 1),
    ],
)
def test_a_redirect_that_leads_nowhere_is_said_and_not_tried_again(
    site: Site, tmp_path: Path, location: str, requests: int
) -> None:
    site.status, site.location = 302, location
    with pytest.raises(DownloadFailed, match="it leads to no file") as failure:
        get(site, tmp_path)
    assert len(site.ranges) == requests
    assert "s3cret" not in str(failure.value)


def test_a_certificate_that_is_not_trusted_is_not_asked_for_again(tmp_path: Path) -> None:
    asked = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("x") from ssl.SSLCertVerificationError("certificate has expired")

    with pytest.raises(DownloadFailed, match="certificate is not valid"):
        download(
            "https://example.invalid/x.zip",
            Settings(home=tmp_path),
            LineProgress,
            sleep=lambda _: None,
            transport=httpx.MockTransport(refuse),
        )
    assert len(asked) == 1


@pytest.mark.parametrize("url", ["http://[::1/x.zip", "http://me:s3cret@/x.zip", "http://me:s3c?ret@host/x.zip"])
def test_a_malformed_url_is_refused_without_repeating_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceRefused, match="it is not a URL with a host and a valid port") as refusal:
        download(url, Settings(home=tmp_path), LineProgress)
    assert "s3c" not in str(refusal.value)


def test_a_signed_url_with_a_password_is_fetched_and_neither_is_written_anywhere(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    site.cut_after = 600_000
    secret = site.url.replace("http://", "http://me:s3cret@") + "?X-Amz-Signature=s3cret"
    with pytest.raises(DownloadFailed, match="received 600000 bytes") as failure:
        download(secret, Settings(home=tmp_path, download_attempts=1), LineProgress)
    path = download(f"{secret}-of-today", Settings(home=tmp_path), LineProgress)
    assert path.read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=600000-"], "a URL that is signed anew resumes the download"
    assert {user for user, _ in site.asked} == {f"Basic {base64.b64encode(b'me:s3cret').decode()}"}
    assert [query for _, query in site.asked] == ["X-Amz-Signature=s3cret", "X-Amz-Signature=s3cret-of-today"]
    assert [file for file in tmp_path.rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()] == []
    assert "s3cret" not in str(failure.value) + "".join(capfd.readouterr())


def test_a_server_that_repeats_the_url_in_its_reason_tells_no_secret(tmp_path: Path) -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403, f"Forbidden for {self.path}")
            self.end_headers()

    with serving(Echo) as url, pytest.raises(DownloadFailed, match=r"HTTP 403 Forbidden\n") as refusal:
        download(f"{url}/a.zip?X-Amz-Signature=s3cret", Settings(home=tmp_path, download_attempts=1), LineProgress)
    assert "s3cret" not in str(refusal.value)


def test_urls_of_two_files_do_not_share_a_download(site: Site, tmp_path: Path) -> None:
    first = download(f"{site.url}?id=1", Settings(home=tmp_path), LineProgress)
    assert download(f"{site.url}?id=2", Settings(home=tmp_path), LineProgress).parent != first.parent
