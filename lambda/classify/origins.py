"""Decide which web pages may call the function: cross-origin resource sharing (CORS). Does no I/O.

A page's browser names its origin in the Origin header. A page of an origin that is not allowed gets no CORS headers, so
the browser keeps the answer from it. Through a URL that authenticates nobody, it is refused before anything is done.
A page's pictures and links are requested without an Origin header; there Sec-Fetch-Site tells that a page asks.
"""

from __future__ import annotations

from collections.abc import Collection

from refusal import Refusal
from web import WebRequest

ANY = "*"
ALLOWED_HEADERS = ("authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")
_OF_OTHER_SITES = ("cross-site", "same-site")
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": ", ".join(ALLOWED_HEADERS),
    "Access-Control-Max-Age": "600",
}


def allowed_origins(names: str) -> frozenset[str]:
    """Return the origins of a list with commas, for example `https://app.example, http://localhost:3000`."""
    return frozenset(name.strip().rstrip("/").lower() for name in names.split(",") if name.strip())


def sharing_headers(web: WebRequest, allowed: Collection[str]) -> dict[str, str]:
    """Return the headers that let the page of an allowed origin read the answer.

    Raises:
        Refusal: the origin is not allowed or not told, and the request is a preflight, or a page's through a public
            URL (403).
    """
    origin = web.headers.get("origin")
    if origin is not None and (origin.lower() in allowed or ANY in allowed):
        shared = {
            "Access-Control-Allow-Origin": origin,
            "Vary": "Origin",
            "Access-Control-Expose-Headers": "Retry-After",
        }
        return {**shared, **PREFLIGHT} if web.method == "OPTIONS" else shared
    if web.method == "OPTIONS" or (web.is_public and is_of_a_page(web) and ANY not in allowed):
        raise Refusal(403, "OriginNotAllowed", "Web pages of this origin may not call the function.")
    return {}


def is_of_a_page(web: WebRequest) -> bool:
    """Return whether a browser says that a page of another site sent the request, by its origin or its site."""
    return "origin" in web.headers or web.headers.get("sec-fetch-site", "").strip().lower() in _OF_OTHER_SITES
