"""Classify the image behind a URL, or in the event itself, with a SageMaker endpoint.

Takes `{"url": "https://…"}`, `{"image": "<base64>"}` or an API-Gateway event (v1, v2) with one of them as its JSON
body. Returns an API-Gateway answer: 200 with the endpoint's JSON, or `{"error": {"code", "message"}}` with a status
that says whose fault it is. Environment: ENDPOINT_NAME, MAX_IMAGE_BYTES, FETCH_TIMEOUT_SECONDS, and for local use
ALLOWED_HOSTS (`host:port,…`, which may be on loopback).

Standard library only: importing boto3 would be most of a cold start.
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

ANSWER_MARGIN_SECONDS = 0.5  # kept back so that the 504 is ours and not the platform's kill
DEFAULT_MAX_IMAGE_BYTES = 5 * 1024 * 1024
DEFAULT_FETCH_TIMEOUT_SECONDS = 10.0
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


def handler(event: Any, context: Any) -> Answer:
    """Answer one event; never raises."""
    try:
        budget = Budget.of_context(context, margin_seconds=ANSWER_MARGIN_SECONDS)
        image = load_image(read_request(event, max_image_bytes=max_image_bytes()), budget)
        return answer(200, endpoint().invoke(image, content_type_of(image), budget))
    except Refusal as refusal:
        return refuse(refusal)
    except Exception:  # noqa: BLE001 the trace belongs in the log and never in the answer
        traceback.print_exc(file=sys.stderr)
        return refuse(Refusal(500, "InternalError", "The request could not be handled."))


def load_image(request: ImageRequest, budget: Budget) -> bytes:
    """Return the image's bytes, fetched if the request names a URL."""
    if request.image is not None:
        return request.image
    assert request.url is not None
    return fetch(
        request.url, fetch_policy(), budget.capped(number("FETCH_TIMEOUT_SECONDS", DEFAULT_FETCH_TIMEOUT_SECONDS))
    )


def content_type_of(image: bytes) -> str:
    """Tell JPEG, PNG and WebP by their first bytes, whatever the sender called them."""
    for magic, content_type in _MAGIC:
        if image.startswith(magic):
            return content_type
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    raise Refusal(415, "UnsupportedImage", "The content is not a JPEG, PNG or WebP image.")


def answer(status: int, body: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an API-Gateway answer with a JSON body."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **(headers or {})}, "body": body}


def refuse(refusal: Refusal) -> Answer:
    """Return the answer for a refusal, in the one error schema."""
    seconds = refusal.retry_after_seconds
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return answer(refusal.status, json.dumps({"error": {"code": refusal.code, "message": refusal.message}}), headers)


@functools.cache
def endpoint() -> Endpoint:
    """Return the endpoint's client: made once in an environment, its connection is kept."""
    name = os.environ.get("ENDPOINT_NAME", "")
    if not name:
        raise Refusal(500, "Misconfigured", "The function has no ENDPOINT_NAME.")
    return Endpoint.from_environment(name, os.environ)


@functools.cache
def fetch_policy() -> FetchPolicy:
    """Return what may be fetched, from the environment."""
    hosts = frozenset(host.strip().lower() for host in os.environ.get("ALLOWED_HOSTS", "").split(",") if host.strip())
    runtime_api = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")
    return FetchPolicy(max_image_bytes(), allowed_hosts=hosts, runtime_api=runtime_api)


def max_image_bytes() -> int:
    """Return the largest image that is taken, in bytes."""
    return int(number("MAX_IMAGE_BYTES", DEFAULT_MAX_IMAGE_BYTES))


def number(name: str, default: float) -> float:
    """Return a positive number from the environment.

    Raises: Refusal 500 if it is set to something else.
    """
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise Refusal(500, "Misconfigured", f"The function's {name} is not a positive number.")
    return value
