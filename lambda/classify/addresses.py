"""Decide which URLs may be fetched and which addresses may be connected to. Does no I/O.

The caller chooses the URL, so a URL is refused unless it clearly names a public web server. Refused are other schemes
and ports, user info, numbers that only some parsers read as addresses, and all special-purpose address ranges.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from refusal import Refusal
from urls import ascii_url, bad_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = {"http": 80, "https": 443}
LAMBDA_RUNTIME_API_PORT = 9001
_PRINTABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")
_NETLOC = re.compile(r"([^\[\]:]+|\[[^\[\]]*:[^\[\]]*\])(:\d+)?")  # brackets only around a whole IPv6 address
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# Ranges that are no public web server, including those that `ipaddress` counts as global unicast: addresses that
# contain an IPv4 address (NAT64, 6to4, Teredo, IPv4-compatible), protocol assignments, and relays.
# https://www.iana.org/assignments/iana-ipv6-special-registry, https://www.iana.org/assignments/iana-ipv4-special-registry
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "::/96",
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "100::/64",
        "0.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_GLOBAL_UNICAST_V6 = ipaddress.ip_network("2000::/3")


class Target(NamedTuple):
    """A parsed URL. `host` is lower case and has no brackets; `path` starts with `/` and includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self) -> str:
        """`host:port`, the form that ALLOWED_HOSTS uses."""
        return f"{self._bracketed}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of the Host header, which omits the scheme's default port."""
        return self._bracketed if self.port == PORTS[self.scheme] else self.netloc

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_url(url: str, allowed_hosts: Collection[str]) -> Target:
    """Parse a URL; refuse it unless it is a plain http or https URL of a web server.

    A URL as people type it, with spaces or umlauts, is parsed in its ASCII form.

    Raises:
        Refusal: the URL is not allowed (400).
    """
    url = ascii_url(url)
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise bad_url("The URL is empty, or has a backslash, or a space in its host.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise bad_url("The URL cannot be parsed.") from error
    if parts.scheme not in PORTS:
        raise bad_url("The URL must start with http:// or https://.")
    if "@" in parts.netloc or not parts.hostname:
        raise bad_url("The URL must have a host and no user name or password.")
    if not _NETLOC.fullmatch(parts.netloc):
        raise bad_url("The URL's host is not a valid address.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port, path)
    check_host(target)
    if target.port != PORTS[target.scheme] and target.netloc not in allowed_hosts:
        raise bad_url("The URL's port is not the default port of its scheme.")
    return target


def check_host(target: Target) -> None:
    """Refuse a host that parsers read differently, for example `2130706433`, `0x7f.1`, `127.1` or `0177.0.0.1`.

    Raises:
        Refusal: the host is neither a host name nor an address in its canonical form (400).
    """
    if ":" in target.host:
        if not is_address(target.host):
            raise bad_url("The URL's host is not a valid address.")
    elif not _HOST.fullmatch(target.host):
        raise bad_url("The URL's host is not a valid host name.")
    elif _NUMBER.fullmatch(target.host.rstrip(".").rpartition(".")[2]) and not is_address(target.host):
        raise bad_url("The URL's host is not a valid address.")


def is_address(host: str) -> bool:
    """Return whether the host is an IP address in its canonical form and has no zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def check_addresses(target: Target, addresses: list[str], *, allowed_hosts: Collection[str], runtime_api: str) -> None:
    """Refuse the host unless *every* one of its addresses may be connected to.

    The addresses must be public. An allow-listed `host:port` may also be on loopback, but it may never be the Lambda
    Runtime API.

    Raises:
        Refusal: an address is not allowed (400).
    """
    may_be_loopback = target.netloc in allowed_hosts
    for text in addresses:
        address = parse_address(text)
        is_runtime_api = f"{address}:{target.port}" == runtime_api or target.port == LAMBDA_RUNTIME_API_PORT
        if address.is_loopback and may_be_loopback and not is_runtime_api:
            continue
        if not is_public(address):
            raise Refusal(400, "UrlNotAllowed", "The URL's host has an address that is not public.")


def parse_address(text: str) -> Address:
    """Parse an address; return an IPv4-mapped IPv6 address as its IPv4 address.

    Raises:
        Refusal: it is not an address (400).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise Refusal(400, "UrlNotAllowed", "The URL's host has an address that is not public.") from error
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet."""
    if isinstance(address, ipaddress.IPv6Address) and (address not in _GLOBAL_UNICAST_V6 or address.scope_id):
        return False
    if any(address.version == network.version and address in network for network in _DENIED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
