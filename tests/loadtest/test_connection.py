"""Tests of a connection: reuse, replacement when idle, TLS verification, and every framing of a response."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loadtest import connection
from loadtest.connection import BrokenAnswerError, Connection

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Amzn-ErrorType: E\r\n\r\nok"


@contextmanager
def answering(answers: list[bytes], wrap: Callable[[socket.socket], socket.socket] = lambda s: s) -> Iterator[int]:
    """Serve one connection after another with the next response for each request; a short response closes it."""

    def serve() -> None:
        while answers:
            with closing(wrap(listener.accept()[0])) as peer:
                while answers and peer.recv(4096):
                    answer = answers.pop(0)
                    peer.sendall(answer)
                    if answer != WHOLE:
                        break

    def serve_until_closed() -> None:
        try:
            serve()
        except OSError:
            return

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve_until_closed)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def connect(port: int, *, is_tls: bool = False) -> Connection:
    return Connection("127.0.0.1", port, is_tls=is_tls, timeout_seconds=5)


def test_a_fresh_connection_is_used_again() -> None:
    with answering([WHOLE, WHOLE]) as port, closing(connect(port)) as client:
        client.exchange(REQUEST)
        first = client._socket
        answer = client.exchange(REQUEST)
        assert client._socket is first
    assert (answer.status, answer.body, answer.header("x-amzn-errortype"), answer.header("none")) == (
        200,
        b"ok",
        "E",
        "",
    )


def test_an_idle_connection_is_replaced_before_the_server_drops_it() -> None:
    with answering([WHOLE, WHOLE]) as port, closing(connect(port)) as client:
        client.exchange(REQUEST)
        first = client._socket
        client._used_at = time.perf_counter() - connection.IDLE_SECONDS - 0.1
        assert client.exchange(REQUEST).status == 200
        assert client._socket is not first


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nz", b"z"),
    ],
)
def test_chunked_and_closing_responses_are_read_completely(answer: bytes, body: bytes) -> None:
    with answering([answer]) as port, closing(connect(port)) as client:
        assert client.exchange(REQUEST).body == body


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", "ended before the response was complete"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "the response is not HTTP"),
    ],
)
def test_a_broken_response_is_an_error_and_closes_the_connection(answer: bytes, why: str) -> None:
    with answering([answer]) as port, closing(connect(port)) as client:
        with pytest.raises(BrokenAnswerError, match=why):
            client.exchange(REQUEST)
        assert client._socket is None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "load test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(key.private_bytes(*private) + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
def test_an_encrypted_connection_is_verified(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connection._tls_context.cache_clear()
    answers = [WHOLE]

    def wrap(peer: socket.socket) -> socket.socket:
        return server.wrap_socket(peer, server_side=True)

    with answering(answers, wrap) as port, closing(connect(port, is_tls=True)) as client:
        if is_trusted:
            assert client.exchange(REQUEST).body == b"ok"
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                client.exchange(REQUEST)
    connection._tls_context.cache_clear()
    assert answers == ([] if is_trusted else [WHOLE])
