"""Downloads from odd web servers: the file arrives whole, or the refusal names what the server did."""

import gzip
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from tasks.data.archive import Reader
from tasks.data.staging import locate
from tasks.data.unpacking import list_unpacked
from tasks.run.errors import DownloadFailed, KennelError
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tests.http_server import serving
from tests.tasks.data.datasets import good_files, zip_of

FILES = good_files()
ZIP = zip_of(FILES)
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
DENIED = b"<Error><Code>InvalidObjectState</Code><Message>s3cret</Message></Error>"
PAGE = b"\n<!DOCTYPE html><html><title>Sign in</title>" + b"x" * 3000 + b"</html>"


class Odd(BaseHTTPRequestHandler):
    """Answers by the name of the path; `asked` has all requests, of all tests."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        name = urlsplit(self.path).path.strip("/").partition("/")[0].replace("-", "_").removesuffix(".zip")
        self.asked.append((name, self.headers["Range"]))
        getattr(self, f"send_{name}")()

    def reply(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content_Length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_zip(self) -> None:
        self.reply(200, ZIP)

    def send_redir(self) -> None:
        self.reply(302, Location=f"http://{self.headers['Host']}/zip")

    def send_redir_rel(self) -> None:
        self.reply(301, Location="zip")

    def send_loop(self) -> None:
        self.reply(302, Location="/loop")

    def send_404(self) -> None:
        self.reply(404, b"<html>no</html>")

    def send_403(self) -> None:
        self.reply(403, EXPIRED, Content_Type="application/xml")

    def send_denied(self) -> None:
        self.reply(403, DENIED, Content_Type="application/xml")

    def send_html(self) -> None:
        self.reply(200, PAGE, length=10**9, Content_Type="text/html; charset=utf-8")

    def send_untyped_html(self) -> None:
        self.reply(200, PAGE, Content_Type="application/octet-stream")

    def send_zip_as_html(self) -> None:
        self.reply(200, ZIP, Content_Type="text/html")

    def send_empty(self) -> None:
        self.reply(200)

    def send_stall(self) -> None:
        self.reply(200, ZIP[:1000], length=len(ZIP))
        self.rfile.read(1)  # until the client closes the connection

    def send_cut(self) -> None:
        """Send a quarter of what is left, in ranges; the rest at the third request and later."""
        begin = int(re.findall(r"\d+", self.headers["Range"] or "0")[0])
        is_last = len([name for name, _ in self.asked if name == "cut"]) > 2
        end = len(ZIP) if is_last else begin + len(ZIP) // 4
        content = {"Content_Range": f"bytes {begin}-{len(ZIP) - 1}/{len(ZIP)}"} if begin else {}
        self.reply(206 if begin else 200, ZIP[begin:end], length=len(ZIP) - begin, ETag='"abc"', **content)
        self.close_connection = True

    def send_wrong_range(self) -> None:
        """Cut the first answer, and then send another part than the one that was asked for."""
        if self.headers["Range"] is None:
            self.reply(200, ZIP[:2000], length=len(ZIP), ETag='"abc"')
        else:
            self.reply(206, ZIP[1000:], ETag='"abc"', Content_Range=f"bytes 1000-{len(ZIP) - 1}/{len(ZIP)}")
        self.close_connection = True

    def send_no_ranges(self) -> None:
        """Cut the first answer, and take no ranges at the second."""
        is_first = len([name for name, _ in self.asked if name == "no_ranges"]) == 1
        self.reply(200, ZIP[:2000] if is_first else ZIP, length=len(ZIP), ETag='"abc"')
        self.close_connection = True

    def send_no_validator(self) -> None:
        """Cut the first answer, without anything by which it could be continued."""
        is_first = len([name for name, _ in self.asked if name == "no_validator"]) == 1
        self.reply(200, ZIP[:2000] if is_first else ZIP, length=len(ZIP))
        self.close_connection = True

    def send_name(self) -> None:
        self.reply(200, ZIP, Content_Disposition='attachment; filename="../../dogs.zip"')

    def send_signed(self) -> None:
        self.reply(200, ZIP)

    def send_gzip(self) -> None:
        self.reply(200, gzip.compress(ZIP), Content_Encoding="gzip")

    def send_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for begin in range(0, len(ZIP), 1000):
            chunk = ZIP[begin : begin + 1000]
            self.wfile.write(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def send_429(self) -> None:
        is_free = len([name for name, _ in self.asked if name == "429"]) > 1
        self.reply(200, ZIP) if is_free else self.reply(429, b"slow", Retry_After="1")


@pytest.fixture
def server() -> Iterator[str]:
    Odd.asked.clear()
    with serving(Odd) as url:
        yield url


def fetch(url: str, home: Path, **more: object) -> dict[str, bytes]:
    """Bring a source here as a run does, and return its files."""
    settings = Settings(home=home, **more)  # type: ignore[arg-type]
    located = locate(url, settings, LineProgress)
    spool = home / "spool"
    spool.mkdir(exist_ok=True)
    listing = list_unpacked(located.path, settings, spool, LineProgress)
    with Reader(listing.root, listing.kind) as reader:
        return {entry.name: reader.read(entry) for entry in listing.entries}


@pytest.mark.parametrize(
    "path",
    ["zip", "redir", "redir-rel", "name", "gzip", "chunked", "zip_as_html", "signed?X-Amz-Signature=s3cret", "429"],
)
def test_the_file_arrives_whole(server: str, tmp_path: Path, path: str) -> None:
    assert fetch(f"{server}/{path}", tmp_path) == FILES
    assert not any("s3cret" in str(file) or b"s3cret" in file.read_bytes() for file in files_in(tmp_path))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("path", "why", "requests"),
    [
        ("loop", "Exceeded maximum allowed redirects", 6),
        ("404", "HTTP 404 Not Found", 1),
        ("403?X-Amz-Signature=s3cret", "the presigned URL has expired", 1),
        ("denied", r"HTTP 403 Forbidden \(InvalidObjectState\)", 1),
        ("html", "a web page and not with a file; it may want you to sign in", 1),
        ("untyped_html", "a web page and not with a file; it may want you to sign in", 1),
        ("empty", "an empty file", 1),
    ],
)
def test_what_is_no_file_is_named_and_not_asked_for_again(
    server: str, tmp_path: Path, path: str, why: str, requests: int
) -> None:
    with pytest.raises(DownloadFailed, match=why) as refused:
        fetch(f"{server}/{path}", tmp_path)
    assert len(Odd.asked) == requests and "s3cret" not in str(refused.value)


def test_a_url_that_was_signed_anew_is_the_same_download(server: str, tmp_path: Path) -> None:
    for signature in ("one", "two"):
        signed = f"{server}/signed?X-Amz-Date={signature}&X-Amz-Signature={signature}"
        assert fetch(signed, tmp_path) == FILES
    assert len(list((tmp_path / "downloads").iterdir())) == 1
    assert fetch(f"{server}/signed?versionId=7", tmp_path) == FILES
    assert len(list((tmp_path / "downloads").iterdir())) == 2


@pytest.mark.parametrize("url", ["http://[::1", "http://[::1/x.zip", "http://", "http://host:99999/x.zip"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(KennelError, match="not a URL with a host and a valid port"):
        fetch(url, tmp_path)


def test_a_server_that_stalls_is_given_up_at_the_deadline(server: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="1 attempts failed, the last with: timed out"):
        fetch(f"{server}/stall", tmp_path, download_timeout_seconds=1.0, download_attempts=1)
    with pytest.raises(DownloadFailed, match="the same command again, which begins it anew"):
        fetch(f"{server}/stall", tmp_path, download_timeout_seconds=1.0, download_attempts=1)


def test_a_download_that_is_cut_goes_on_where_it_was(server: str, tmp_path: Path) -> None:
    assert fetch(f"{server}/cut.zip", tmp_path) == FILES
    quarter = len(ZIP) // 4
    assert Odd.asked == [("cut", None), ("cut", f"bytes={quarter}-"), ("cut", f"bytes={2 * quarter}-")]


def test_another_part_than_the_one_that_was_asked_for_is_not_used(server: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="another part of the file"):
        fetch(f"{server}/wrong_range", tmp_path, download_attempts=2)


@pytest.mark.parametrize(
    ("path", "why"),
    [("no-ranges", "sends no parts of the file"), ("no-validator", "gives the file no ETag and no date")],
)
def test_a_download_that_cannot_be_resumed_is_begun_anew_and_that_is_said(
    server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, why: str
) -> None:
    with caplog.at_level("INFO", "kennel"):
        assert fetch(f"{server}/{path}", tmp_path) == FILES
    assert [why in each.message for each in caplog.records if "from its beginning" in each.message] == [True]
