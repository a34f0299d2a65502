"""Fetching the image behind a URL that somebody else wrote.

The host is resolved once, every address is checked, and the connection goes to the very address that was checked, with
the Host header and TLS name of the URL; each redirect starts over. A watchdog ends the whole thing at its deadline,
however slowly the other side talks, and nothing is ever decompressed.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from addresses import Target, bad_url, check_addresses, is_address, parse_url
from refusal import Refusal
from timing import Budget

Resolver = Callable[[str, int], list[str]]

MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def system_resolver(host: str, port: int) -> list[str]:
    """Return the host's addresses as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class FetchPolicy:
    """What may be fetched. `allowed_hosts`: `host:port` that may be on loopback; `runtime_api`: never to be reached."""

    max_image_bytes: int
    allowed_hosts: frozenset[str] = frozenset()
    runtime_api: str = ""
    resolver: Resolver = system_resolver


def fetch(url: str, policy: FetchPolicy, budget: Budget) -> bytes:
    """Return what the URL leads to, at most `policy.max_image_bytes`.

    Raises: Refusal 400 (the URL or its address is not allowed), 413 (too large), 415 (compressed), 422 (the server does
    not give it), 504 (not within the budget).
    """
    target = parse_url(url, policy.allowed_hosts)
    for _ in range(MAX_REDIRECTS + 1):
        reply = get(target, policy, budget)
        if isinstance(reply, bytes):
            return reply
        target = redirected(target, reply.location, policy)
    raise not_fetched(f"The URL is redirected more than {MAX_REDIRECTS} times.")


@dataclass(frozen=True)
class Redirect:
    """Where a server sends us instead."""

    location: str


def redirected(target: Target, location: str, policy: FetchPolicy) -> Target:
    """Return the target of a redirect, checked like the first one; from https it may not lead to http."""
    base = f"{target.scheme}://{target.netloc}{target.path}"
    try:
        following = urljoin(base, location)
    except ValueError as error:
        raise bad_url("The URL is redirected to one that cannot be read.") from error
    followed = parse_url(following, policy.allowed_hosts)
    if target.scheme == "https" and followed.scheme == "http":
        raise bad_url("The URL is redirected from https to http.")
    return followed


def get(target: Target, policy: FetchPolicy, budget: Budget) -> bytes | Redirect:
    """Make one request to a checked address of the target."""
    addresses = resolve(target, policy, budget)
    check_addresses(target, addresses, allowed_hosts=policy.allowed_hosts, runtime_api=policy.runtime_api)
    with connect(addresses, target.port, budget) as plain, watchdog(plain, budget):
        try:
            with encrypt(plain, target.host) if target.scheme == "https" else plain as connection:
                reply = exchange(connection, target, policy.max_image_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise failure(budget) from error
    if not budget.left():
        raise timed_out()  # a body without a length ends where the watchdog cut it
    return reply


def exchange(connection: socket.socket, target: Target, max_bytes: int) -> bytes | Redirect:
    """Send the request and read the answer on a connection that is open already."""
    client = http.client.HTTPConnection(target.host, target.port)
    client.sock = connection
    headers = {"Host": target.host_header, "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "kennel"}
    client.request("GET", target.path, headers={**headers, "Connection": "close"})
    with contextlib.closing(client.getresponse()) as response:
        return read(response, max_bytes)


def resolve(target: Target, policy: FetchPolicy, budget: Budget) -> list[str]:
    """Look the host up once; the system's resolver has no deadline, so it is waited for on a thread."""
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
        raise not_fetched("The URL's host is not known.")
    return found[0]


def connect(addresses: list[str], port: int, budget: Budget) -> socket.socket:
    """Connect to the first address that answers; never looks a name up."""
    for address in addresses:
        if not budget.left():
            break
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), timeout=budget.left())
    raise failure(budget)


def encrypt(plain: socket.socket, host: str) -> socket.socket:
    """Speak TLS with the server that the URL names, certificate and name checked."""
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host.rstrip("."))


@contextlib.contextmanager
def watchdog(connection: socket.socket, budget: Budget) -> Iterator[None]:
    """Cut the connection when the budget is used up: timeouts of sockets start anew with every byte."""
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
    """Return the body of a 200, whole and as it was sent, or the redirect."""
    location = response.getheader("Location")
    if response.status in _REDIRECTS and location:
        return Redirect(location)
    if response.status != 200:
        raise not_fetched(f"The URL's server answered with status {response.status}.")
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "UnsupportedEncoding", "The URL's server sent compressed content without being asked to.")
    if (response.length or 0) > max_bytes:
        raise too_large(max_bytes)
    return read_body(response, max_bytes)


def read_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read to the end, or until it is too much, whatever Content-Length says."""
    promised, body = response.length, bytearray()
    while chunk := response.read(min(CHUNK_BYTES, max_bytes + 1 - len(body))):
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    if promised is not None and len(body) < promised:
        raise http.client.IncompleteRead(bytes(body), promised - len(body))
    return bytes(body)


def failure(budget: Budget) -> Refusal:
    """Return why nothing came: the time was up, or the server does not talk to us."""
    return not_fetched("The URL's server did not give the image.") if budget.left() else timed_out()


def not_fetched(message: str) -> Refusal:
    """Return the refusal of a URL that leads to no image."""
    return Refusal(422, "ImageNotFetched", message)


def too_large(max_bytes: int) -> Refusal:
    """Return the refusal of too many bytes."""
    return Refusal(413, "ImageTooLarge", f"The image is larger than {max_bytes} bytes.")


def timed_out() -> Refusal:
    """Return the refusal of a server that takes too long."""
    return Refusal(504, "FetchTimeout", "The URL's server took too long.")
