"""Decide which web pages may call the function: cross-origin resource sharing (CORS). Does no I/O.

A page's browser names its origin in the Origin header. A page of an origin that is not allowed gets no CORS headers, so
the browser keeps the answer from it; through a URL that authenticates nobody, it is refused before anything is done.
"""

from __future__ import annotations

from collections.abc import Collection

from refusal import Refusal
from web import WebRequest

ANY = "*"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, x-amz-content-sha256, x-amz-date, "
    "x-amz-security-token",
    "Access-Control-Max-Age": "600",
}


def allowed_origins(names: str) -> frozenset[str]:
    """Return the origins of a list with commas, for example `https://app.example, http://localhost:3000`."""
    return frozenset(name.strip().rstrip("/").lower() for name in names.split(",") if name.strip())


def sharing_headers(web: WebRequest, allowed: Collection[str]) -> dict[str, str]:
    """Return the headers that let the page of an allowed origin read the answer.

    Raises:
        Refusal: the origin is not allowed, and the request is a preflight or came through a public URL (403).
    """
    origin = web.headers.get("origin")
    if origin is not None and (origin.lower() in allowed or ANY in allowed):
        shared = {
            "Access-Control-Allow-Origin": origin,
            "Vary": "Origin",
            "Access-Control-Expose-Headers": "Retry-After",
        }
        return {**shared, **PREFLIGHT} if web.method == "OPTIONS" else shared
    if web.method == "OPTIONS" or (origin is not None and web.is_public):
        raise Refusal(403, "OriginNotAllowed", "Web pages of this origin may not call the function.")
    return {}
