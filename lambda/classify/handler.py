"""Classify an image with a SageMaker endpoint; the event holds the image or its URL.

The event is `{"url": "https://…"}`, `{"image": "<base64>"}`, or the HTTP request of an API Gateway (v1, v2) or a
function URL: POST with one of them as JSON, with the picture itself or with a form, or GET with `?url=`. The function
returns an API Gateway response: 200 with the endpoint's JSON, or an error status with `{"error": {"code", "message"}}`.

It reads these environment variables:
- ENDPOINT_NAME: the endpoint.
- MAX_IMAGE_BYTES, FETCH_TIMEOUT_SECONDS: limits of a picture and of fetching it.
- ALLOWED_HOSTS: `host:port,…`, hosts that may be on loopback, for local use; not for public requests.
- ALLOWED_ORIGINS: origins of web pages that may call the function, or `*`; none without it.
- FETCH_URLS: `on` or `off`. Without it, a picture's URL is fetched except for public requests, in which AWS names no
  authenticated caller (`web.is_public`): the function must not become an open proxy.

Standard library only, because importing boto3 would take most of a cold start.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from endpoint import Endpoint
from event import ImageRequest, read_request
from kinds import content_type_of
from origins import allowed_origins, sharing_headers
from refusal import Refusal
from timing import Budget
from web import WebRequest

if TYPE_CHECKING:
    from fetch import FetchPolicy

Answer = dict[str, Any]

ANSWER_MARGIN_SECONDS = 0.5  # reserved for a 504 of our own, before Lambda ends the invocation
DEFAULT_MAX_IMAGE_BYTES = 5 * 1024 * 1024
DEFAULT_FETCH_TIMEOUT_SECONDS = 10.0


def handler(event: Any, context: Any) -> Answer:
    """Respond to one event; never raise."""
    shared: dict[str, str] = {}
    try:
        budget = Budget.of_context(context, margin_seconds=ANSWER_MARGIN_SECONDS)
        web = WebRequest.of(event)
        shared = sharing_headers(web, allowed_origins(os.environ.get("ALLOWED_ORIGINS", ""))) if web else {}
        if web and web.method == "OPTIONS":
            return {"statusCode": 204, "headers": shared, "body": ""}
        return classified(event, budget, shared, is_public=web is not None and web.is_public)
    except Refusal as refusal:
        return refuse(refusal, shared)
    except Exception:  # noqa: BLE001 the trace goes to the log and never to the caller
        traceback.print_exc(file=sys.stderr)
        return refuse(Refusal(500, "InternalError", "The request could not be handled."), shared)


def classified(event: Any, budget: Budget, headers: dict[str, str], *, is_public: bool) -> Answer:
    """Return the response with the endpoint's answer for the image of an event.

    Raises:
        Refusal: as `read_request`, `load_image`, `content_type_of` and `Endpoint.invoke`.
    """
    image = load_image(read_request(event, max_image_bytes=max_image_bytes()), budget, is_public=is_public)
    content_type = content_type_of(image)
    return answer(200, endpoint().invoke(image, content_type, budget), headers)


def load_image(request: ImageRequest, budget: Budget, *, is_public: bool) -> bytes:
    """Return the image's bytes; fetch them if the request has a URL and may have one.

    Raises:
        Refusal: URLs are not fetched for this caller (403), or as `fetch`.
    """
    if request.image is not None:
        return request.image
    assert request.url is not None
    if not may_fetch(is_public=is_public):
        raise Refusal(403, "UrlsNotFetched", 'This function fetches no URLs. Send the picture itself, or as "image".')
    from fetch import fetch  # an import of 10 ms that a cold start with a picture does without

    limit = number("FETCH_TIMEOUT_SECONDS", DEFAULT_FETCH_TIMEOUT_SECONDS)
    return fetch(request.url, fetch_policy(is_public=is_public), budget.capped(limit))


def may_fetch(*, is_public: bool) -> bool:
    """Return whether a picture's URL is fetched for a caller.

    Raises:
        Refusal: FETCH_URLS has another value (500).
    """
    setting = os.environ.get("FETCH_URLS", "").strip().lower()
    if setting not in ("", "on", "off"):
        raise Refusal(500, "Misconfigured", "The function's FETCH_URLS is neither on nor off.")
    return setting == "on" or (not setting and not is_public)


def answer(status: int, body: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an API Gateway response with a JSON body."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **(headers or {})}, "body": body}


def refuse(refusal: Refusal, headers: dict[str, str]) -> Answer:
    """Return the response for a refusal: its status, and `{"error": {"code", "message"}}`."""
    seconds = refusal.retry_after_seconds
    retry = {} if seconds is None else {"Retry-After": str(seconds)}
    body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}})
    return answer(refusal.status, body, {**headers, **retry})


@functools.cache
def endpoint() -> Endpoint:
    """Return the endpoint's client, which is made once per environment and keeps its connection.

    Raises:
        Refusal: the function is misconfigured (500).
    """
    name = os.environ.get("ENDPOINT_NAME", "")
    if not name:
        raise Refusal(500, "Misconfigured", "The function has no ENDPOINT_NAME.")
    return Endpoint.from_environment(name, os.environ)


@functools.cache
def fetch_policy(*, is_public: bool) -> FetchPolicy:
    """Return the fetch policy that the environment variables define; for a public URL, no host may be on loopback."""
    from fetch import FetchPolicy

    named = "" if is_public else os.environ.get("ALLOWED_HOSTS", "")
    hosts = frozenset(host.strip().lower() for host in named.split(",") if host.strip())
    runtime_api = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")
    return FetchPolicy(max_image_bytes(), allowed_hosts=hosts, runtime_api=runtime_api)


def max_image_bytes() -> int:
    """Return the size of the largest accepted image, in bytes."""
    return int(number("MAX_IMAGE_BYTES", DEFAULT_MAX_IMAGE_BYTES))


def number(name: str, default: float) -> float:
    """Return a positive number from an environment variable.

    Raises:
        Refusal: the variable has another value (500).
    """
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise Refusal(500, "Misconfigured", f"The function's {name} is not a positive number.")
    return value
