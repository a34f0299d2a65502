"""Classify an image with a SageMaker endpoint; the event holds the image or its URL.

The event is `{"url": "https://…"}`, `{"image": "<base64>"}`, or an API Gateway event (v1, v2) with one of them as its
JSON body. The function returns an API Gateway response: 200 with the endpoint's JSON, or an error status with
`{"error": {"code", "message"}}`. It reads the environment variables ENDPOINT_NAME, MAX_IMAGE_BYTES,
FETCH_TIMEOUT_SECONDS and, for local use, ALLOWED_HOSTS (`host:port,…`, hosts that may be on loopback).

Standard library only, because importing boto3 would take most of a cold start.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from typing import Any

from endpoint import Endpoint
from event import ImageRequest, read_request
from fetch import FetchPolicy, fetch
from refusal import Refusal
from timing import Budget

Answer = dict[str, Any]

ANSWER_MARGIN_SECONDS = 0.5  # reserved for a 504 of our own, before Lambda ends the invocation
DEFAULT_MAX_IMAGE_BYTES = 5 * 1024 * 1024
DEFAULT_FETCH_TIMEOUT_SECONDS = 10.0
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


def handler(event: Any, context: Any) -> Answer:
    """Respond to one event; never raise."""
    try:
        budget = Budget.of_context(context, margin_seconds=ANSWER_MARGIN_SECONDS)
        image = load_image(read_request(event, max_image_bytes=max_image_bytes()), budget)
        return answer(200, endpoint().invoke(image, content_type_of(image), budget))
    except Refusal as refusal:
        return refuse(refusal)
    except Exception:  # noqa: BLE001 the trace goes to the log and never to the caller
        traceback.print_exc(file=sys.stderr)
        return refuse(Refusal(500, "InternalError", "The request could not be handled."))


def load_image(request: ImageRequest, budget: Budget) -> bytes:
    """Return the image's bytes; fetch them if the request has a URL.

    Raises:
        Refusal: as `fetch`.
    """
    if request.image is not None:
        return request.image
    assert request.url is not None
    return fetch(
        request.url, fetch_policy(), budget.capped(number("FETCH_TIMEOUT_SECONDS", DEFAULT_FETCH_TIMEOUT_SECONDS))
    )


def content_type_of(image: bytes) -> str:
    """Return the content type of a JPEG, PNG or WebP image, recognised by its first bytes.

    Raises:
        Refusal: it is another kind of content (415).
    """
    for magic, content_type in _MAGIC:
        if image.startswith(magic):
            return content_type
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    raise Refusal(415, "UnsupportedImage", "The content is not a JPEG, PNG or WebP image.")


def answer(status: int, body: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an API Gateway response with a JSON body."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **(headers or {})}, "body": body}


def refuse(refusal: Refusal) -> Answer:
    """Return the response for a refusal: its status, and `{"error": {"code", "message"}}`."""
    seconds = refusal.retry_after_seconds
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return answer(refusal.status, json.dumps({"error": {"code": refusal.code, "message": refusal.message}}), headers)


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
def fetch_policy() -> FetchPolicy:
    """Return the fetch policy that the environment variables define."""
    hosts = frozenset(host.strip().lower() for host in os.environ.get("ALLOWED_HOSTS", "").split(",") if host.strip())
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
