"""Tell requests of this machine's own programs and pages from those that a foreign web page sends to loopback.

A browser lets any page send requests to 127.0.0.1, and to a name of the page's own that resolves to it (DNS rebinding).
Every server that kennel starts for a person refuses both; localaws has a rule of its own (`localaws/auth/origin.py`).
Programs such as curl and Prefect's clients send neither `Origin` nor `Sec-Fetch-Site`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOOPBACK = re.compile(r"(127(\.\d{1,3}){3}|localhost)(:\d{1,5})?")
_OWN_SITES = {"same-origin", "none"}  # none: a person typed the address


def foreign_page(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return why a request must be refused, or None if it comes from a program or from the server's own pages.

    `headers` are the request's (name, value) pairs, in any case; each one counts when a name is repeated. The `Origin`
    has to be the `Host` that was asked, so that an SSH tunnel to another port works.
    """
    sent: dict[str, set[str]] = {"host": set(), "origin": set(), "sec-fetch-site": set()}
    for name, value in headers:
        if (kept := sent.get(name.lower())) is not None:
            kept.add(value.strip().lower())
    if len(sent["host"]) != 1 or not _LOOPBACK.fullmatch(host := next(iter(sent["host"]))):
        return "only requests to a loopback host are answered"
    if sent["origin"] - {f"http://{host}"}:
        return "a page of another origin may not send requests to this server"
    if sent["sec-fetch-site"] - _OWN_SITES:
        return "a page of another site may not send requests to this server; type its address instead"
    return None
