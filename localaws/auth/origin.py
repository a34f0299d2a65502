"""Tells requests that a web page of another origin had a browser send, and requests addressed to another host.

A browser tells where a request comes from: in `Origin` for whatever may change something, in `Sec-Fetch-Site` for all.
Programs that are no browser send neither. A name that a page has made point to this machine is in `Host`.
"""

import re

from starlette.types import Scope

_LOOPBACK = re.compile(rb"127(\.\d{1,3}){3}|([a-z0-9.-]+\.)?localhost")
_OWN_SITES = (b"same-origin", b"none")  # none: the user typed the address or opened a bookmark


def is_loopback_host(scope: Scope) -> bool:
    """Return whether the one Host header names this machine: 127.x.y.z, localhost or a name under it (buckets)."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return len(hosts) == 1 and bool(_LOOPBACK.fullmatch((hosts[0].rpartition(b":")[0] or hosts[0]).lower()))


def is_foreign(scope: Scope) -> bool:
    """Return whether a browser sends the request for a page of another origin, or for one that it does not name."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    for name, value in scope["headers"]:
        if name == b"origin" and value.lower() != b"http://" + host.lower():
            return True
        if name == b"sec-fetch-site" and value not in _OWN_SITES:
            return True
    return False
