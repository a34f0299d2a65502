"""Fetch the image behind a URL that a caller chose and that may be hostile.

The host is resolved once and all its addresses are checked. The connection goes to an address that was checked, with
the Host header and TLS name of the URL. Each redirect is checked in the same way. A watchdog cuts the connection at the
deadline, even if the server keeps sending slowly. Compressed content is refused and never decompressed.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote, urljoin

from addresses import Target, check_addresses, is_address, parse_url
from encoded import too_large
from refusal import Refusal
from timing import Budget
from urls import PRINTABLE, bad_url

Resolver = Callable[[str, int], list[str]]

MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def system_resolver(host: str, port: int) -> list[str]:
    """Return the addresses that the system's resolver has for a host.

    Raises:
        OSError: the host is unknown.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class FetchPolicy(NamedTuple):
    """What may be fetched: a `host:port` in `allowed_hosts` may be on loopback, `runtime_api` is never connected to."""

    max_image_bytes: int
    allowed_hosts: frozenset[str] = frozenset()
    runtime_api: str = ""
    resolver: Resolver = system_resolver


def fetch(url: str, policy: FetchPolicy, budget: Budget) -> bytes:
    """Fetch a URL, following redirects; return at most `policy.max_image_bytes`.

    Raises:
        Refusal: the URL or an address of its host is not allowed (400), the content is too large (413) or compressed
            (415), the server does not return it (422), or the time is up (504).
    """
    target = parse_url(url, policy.allowed_hosts)
    for _ in range(MAX_REDIRECTS + 1):
        reply = get(target, policy, budget)
        if isinstance(reply, bytes):
            return reply
        target = redirected(target, reply.location, policy)
    raise not_fetched(f"The URL is redirected more than {MAX_REDIRECTS} times.")


class Redirect(NamedTuple):
    """The Location header of a redirect."""

    location: str


def redirected(target: Target, location: str, policy: FetchPolicy) -> Target:
    """Return the target of a redirect, checked like the first URL; a redirect from https to http is refused.

    Raises:
        Refusal: the redirect is not allowed (400).
    """
    base = f"{target.scheme}://{target.netloc}{target.path}"
    try:
        sent = location.strip().encode("latin-1")  # the bytes that http.client decoded
        following = urljoin(base, quote(sent, safe=PRINTABLE))
    except ValueError as error:
        raise bad_url("The URL is redirected to one that cannot be parsed.") from error
    followed = parse_url(following, policy.allowed_hosts)
    if target.scheme == "https" and followed.scheme == "http":
        raise bad_url("The URL is redirected from https to http.")
    return followed


def get(target: Target, policy: FetchPolicy, budget: Budget) -> bytes | Redirect:
    """Send one request to a checked address of the target.

    Raises:
        Refusal: as `fetch`.
    """
    addresses = resolve(target, policy, budget)
    check_addresses(target, addresses, allowed_hosts=policy.allowed_hosts, runtime_api=policy.runtime_api)
    with connect(addresses, target.port, budget) as plain, watchdog(plain, budget):
        try:
            with encrypt(plain, target.host) if target.scheme == "https" else plain as connection:
                reply = exchange(connection, target, policy.max_image_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise failure(budget) from error
    if not budget.left():
        raise timed_out()  # without a Content-Length, a body that the watchdog cut looks complete
    return reply


def exchange(connection: socket.socket, target: Target, max_bytes: int) -> bytes | Redirect:
    """Send the request on an open connection and read the response."""
    client = http.client.HTTPConnection(target.host, target.port)
    client.sock = connection
    headers = {"Host": target.host_header, "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "kennel"}
    client.request("GET", target.path, headers={**headers, "Connection": "close"})
    with contextlib.closing(client.getresponse()) as response:
        return read(response, max_bytes)


def resolve(target: Target, policy: FetchPolicy, budget: Budget) -> list[str]:
    """Resolve the host once, on a thread, because the system's resolver has no timeout.

    Raises:
        Refusal: the host is unknown (422), or the time is up (504).
    """
    if is_address(target.host):
        return [target.host]
    found: list[list[str]] = []

    def look_up() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.append(policy.resolver(target.host, target.port))

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(budget.left())
    if thread.is_alive():
        raise timed_out()
    if not found or not found[0]:
        raise not_fetched("The URL's host is unknown.")
    return found[0]


def connect(addresses: list[str], port: int, budget: Budget) -> socket.socket:
    """Connect to the first address that accepts a connection; resolve no name.

    Raises:
        Refusal: no address accepts one (422), or the time is up (504).
    """
    for address in addresses:
        if not budget.left():
            break
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), timeout=budget.left())
    raise failure(budget)


def encrypt(plain: socket.socket, host: str) -> socket.socket:
    """Start TLS; check the server's certificate and that it is for the URL's host."""
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host.rstrip("."))


@contextlib.contextmanager
def watchdog(connection: socket.socket, budget: Budget) -> Iterator[None]:
    """Shut the connection down when the time is up; a socket's own timeout restarts with each byte received."""
    descriptor = socket.socket(fileno=socket.dup(connection.fileno()))

    def cut() -> None:
        with contextlib.suppress(OSError):
            descriptor.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(budget.left(), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        descriptor.close()


def read(response: http.client.HTTPResponse, max_bytes: int) -> bytes | Redirect:
    """Return the whole body of a 200 response, or the redirect.

    Raises:
        Refusal: another status (422), compressed content (415), or too many bytes (413).
    """
    location = response.getheader("Location")
    if response.status in _REDIRECTS and location:
        return Redirect(location)
    if response.status != 200:
        raise not_fetched(f"The URL's server responded with status {response.status}.")
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "UnsupportedEncoding", "The URL's server sent compressed content, which was not requested.")
    if (response.length or 0) > max_bytes:
        raise too_large(max_bytes)
    return read_body(response, max_bytes)


def read_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read the body to its end; ignore Content-Length until then, because it may be wrong.

    Raises:
        Refusal: there are more than `max_bytes` (413).
        http.client.IncompleteRead: there are fewer bytes than Content-Length states.
    """
    declared, body = response.length, bytearray()
    while chunk := response.read(min(CHUNK_BYTES, max_bytes + 1 - len(body))):
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    if declared is not None and len(body) < declared:
        raise http.client.IncompleteRead(bytes(body), declared - len(body))
    return bytes(body)


def failure(budget: Budget) -> Refusal:
    """Return the refusal of a failed request: the time is up, or the server does not respond properly."""
    return not_fetched("The URL's server did not return the image.") if budget.left() else timed_out()


def not_fetched(message: str) -> Refusal:
    """Return the refusal of a URL whose content cannot be fetched."""
    return Refusal(422, "ImageNotFetched", message)


def timed_out() -> Refusal:
    """Return the refusal for a server that is too slow."""
    return Refusal(504, "FetchTimeout", "The URL's server took too long.")
