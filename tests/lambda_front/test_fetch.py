"""Tests of fetching from servers that are slow, broken or hostile; all of them are on loopback."""

import contextlib
import gzip
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fetch import FetchPolicy, fetch
from refusal import Refusal
from timing import Budget

from tests.lambda_front.scripted_server import Pieces, Script, ScriptedServer, answer, scripted

IMAGE = b"\xff\xd8\xff" + bytes(500)


def policy_for(server: ScriptedServer, *names: str, **options: object) -> FetchPolicy:
    hosts = frozenset({server.netloc, *(f"{name}:{server.port}" for name in names)})
    return FetchPolicy(1000, allowed_hosts=hosts, **options)  # type: ignore[arg-type]


def budget(seconds: float = 5.0) -> Budget:
    return Budget(time.monotonic() + seconds)


def refused(url: str, policy: FetchPolicy, seconds: float = 5.0) -> tuple[int, str, str]:
    with pytest.raises(Refusal) as caught:
        fetch(url, policy, budget(seconds))
    return caught.value.status, caught.value.code, caught.value.message


def fixed(*pieces: bytes | float) -> Script:
    return lambda _request, _number: pieces


def test_an_image_is_fetched_whole_with_the_urls_host_and_no_encoding() -> None:
    with scripted(fixed(answer("200 OK", IMAGE))) as server:
        policy = policy_for(server, "photos.example", resolver=lambda host, port: ["127.0.0.1"])
        assert fetch(f"http://photos.example:{server.port}/a.jpg?x=1#y", policy, budget()) == IMAGE
    request = server.requests[0].decode()
    assert request.startswith("GET /a.jpg?x=1 HTTP/1.1\r\n")
    assert f"\r\nHost: photos.example:{server.port}\r\n" in request
    assert "\r\nAccept-Encoding: identity\r\n" in request


def test_the_name_is_looked_up_once_and_the_checked_address_is_used() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"]])
    with scripted(fixed(answer("200 OK", IMAGE))) as server:
        policy = policy_for(server, "rebinding.example", resolver=lambda host, port: next(answers))
        assert fetch(f"http://rebinding.example:{server.port}/", policy, budget()) == IMAGE
    assert next(answers) == ["10.0.0.1"]


def test_a_host_with_public_and_private_addresses_is_refused_without_a_connection() -> None:
    with scripted(fixed(answer("200 OK", IMAGE))) as server:
        policy = policy_for(server, "mixed.example", resolver=lambda host, port: ["127.0.0.1", "10.0.0.1"])
        assert refused(f"http://mixed.example:{server.port}/", policy)[:2] == (400, "UrlNotAllowed")
    assert server.connections == 0


def test_a_typed_url_and_a_redirect_in_raw_utf_8_are_percent_encoded() -> None:
    def script(_request: bytes, number: int) -> Pieces:
        moved = answer("302 Found", Location="/h\u00fcndchen 2.jpg ")
        return [moved if number == 1 else answer("200 OK", IMAGE)]

    with scripted(script) as server:
        typed = " " + server.url("/my dog.jpg?\u00e4#x") + "\n"
        assert fetch(typed, policy_for(server), budget()) == IMAGE
    assert [request.split(b" HTTP/")[0] for request in server.requests] == [
        b"GET /my%20dog.jpg?%C3%A4",
        b"GET /h%C3%BCndchen%202.jpg",
    ]


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    def hop(last: int) -> Script:
        def script(_request: bytes, number: int) -> Pieces:
            return [answer("200 OK", IMAGE) if number > last else answer("302 Found", Location=f"/hop{number}")]

        return script

    with scripted(hop(3)) as server:
        assert fetch(server.url(), policy_for(server), budget()) == IMAGE
    with scripted(hop(20)) as server:
        assert refused(server.url(), policy_for(server))[1:] == (
            "ImageNotFetched",
            "The URL is redirected more than 3 times.",
        )
        assert server.connections == 4


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("file:///etc/passwd", "BadUrl"),
        ("http://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "BadUrl"),
        ("http://169.254.169.254/latest/meta-data/", "UrlNotAllowed"),
        ("//10.0.0.1/", "UrlNotAllowed"),
        ("http://user@example.org/", "BadUrl"),
        ("http://[", "BadUrl"),
    ],
)
def test_a_redirect_is_checked_like_the_first_url(location: str, code: str) -> None:
    with scripted(fixed(answer("302 Found", Location=location))) as server:
        assert refused(server.url(), policy_for(server))[:2] == (400, code)
        assert server.connections == 1


def endless(piece: bytes, pause: float) -> Iterator[bytes | float]:
    while True:
        yield piece
        yield pause


@pytest.mark.parametrize(
    "script",
    [
        fixed(30.0),
        lambda _r, _n: endless(b"H", 0.05),
        lambda _r, _n: itertools.chain([b"HTTP/1.1 200 OK\r\n"], endless(b"A: b\r\n", 0.1)),
        lambda _r, _n: itertools.chain([b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"], endless(b"x", 0.1)),
        lambda _r, _n: itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8\xff"], endless(b"x", 0.1)),
    ],
    ids=["silence", "status line drop by drop", "headers drop by drop", "body drop by drop", "body without length"],
)
def test_a_slow_server_is_abandoned_at_the_deadline(script: Script) -> None:
    with scripted(script) as server:
        started = time.monotonic()
        assert refused(server.url(), policy_for(server), 0.6)[:2] == (504, "FetchTimeout")
        assert time.monotonic() - started < 15


def test_a_slow_name_server_is_abandoned_at_the_deadline() -> None:
    never = threading.Event()

    def resolver(host: str, port: int) -> list[str]:
        never.wait(60)
        return []

    started = time.monotonic()
    assert refused("http://slow.example/", FetchPolicy(1000, resolver=resolver), 0.3)[1] == "FetchTimeout"
    assert time.monotonic() - started < 15
    never.set()


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        ([answer("200 OK", bytes(1001))], 413, "ImageTooLarge"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nabc"], 413, "ImageTooLarge"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000)], 413, "ImageTooLarge"),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + bytes(1024) + b"\r\n"],
            413,
            "ImageTooLarge",
        ),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nabc"], 422, "ImageNotFetched"),
        ([answer("200 OK", gzip.compress(bytes(10**7))[:900], Content_Encoding="gzip")], 415, "UnsupportedEncoding"),
        ([b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n"], 422, "ImageNotFetched"),
        ([b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n"], 422, "ImageNotFetched"),
        ([b"SSH-2.0-OpenSSH_9.9\r\n"], 422, "ImageNotFetched"),
        ([], 422, "ImageNotFetched"),
        ([answer("404 Not Found")], 422, "ImageNotFetched"),
        ([answer("302 Found")], 422, "ImageNotFetched"),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_a_false_or_broken_response_is_refused(reply: list[bytes], status: int, code: str) -> None:
    with scripted(fixed(*reply)) as server:
        assert refused(server.url(), policy_for(server))[:2] == (status, code)


def test_a_closed_port_and_an_unknown_host_have_their_own_messages() -> None:
    with scripted(fixed()) as server:
        policy = policy_for(server)
    assert refused(server.url(), policy)[2] == "The URL's server did not return the image."

    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    assert refused("http://nowhere.example/", FetchPolicy(1000, resolver=unknown))[2] == "The URL's host is unknown."


def self_signed(name: str, path: Path) -> Path:
    """Write a key and a self-signed certificate, which a client trusts only if it is configured to."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path


@pytest.mark.parametrize(
    ("name", "is_trusted", "is_fetched"),
    [("photos.example", True, True), ("other.example", True, False), ("photos.example", False, False)],
)
def test_a_certificate_must_be_trusted_and_be_for_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_trusted: bool, is_fetched: bool
) -> None:
    certificate = self_signed(name, tmp_path / "server.pem")
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def handshake() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(4096)
                encrypted.sendall(answer("200 OK", IMAGE))
            connection.close()

        thread = threading.Thread(target=handshake)
        thread.start()
        policy = FetchPolicy(
            1000, allowed_hosts=frozenset({f"photos.example:{port}"}), resolver=lambda host, port: ["127.0.0.1"]
        )
        url = f"https://photos.example:{port}/"
        if is_fetched:
            assert fetch(url, policy, budget()) == IMAGE
        else:
            assert refused(url, policy)[:2] == (422, "ImageNotFetched")
        thread.join(60)
    assert names == ["photos.example"]
