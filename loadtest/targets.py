"""Describe the target of a load test, a SageMaker endpoint or the alias of a Lambda function, and check its host.

A load test against a host of someone else would be an attack. So the host must be loopback or exactly AWS's host of the
service in the plan's region, which is checked before a socket is opened (fault I5).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from loadtest.outcomes import HttpAnswer, Outcome, endpoint_outcome, function_outcome
from loadtest.signing import Payload, Route
from tasks.run.partitions import dns_suffix
from tasks.run.settings import is_loopback

TargetKind = Literal["endpoint", "function"]

_NAME = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$")
_HOSTS: dict[TargetKind, str] = {"endpoint": "runtime.sagemaker", "function": "lambda"}
_SERVICES: dict[TargetKind, str] = {"endpoint": "sagemaker", "function": "lambda"}
_IMAGE_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


class ForeignTargetError(ValueError):
    """The host is neither loopback nor AWS's host of the service."""


class ImageError(ValueError):
    """An image cannot be read, or cannot be sent to this kind of target."""


@dataclass(frozen=True)
class LoadTarget:
    """An endpoint (`qualifier` is its variant or None) or a function (`qualifier` is its alias), at a base URL."""

    kind: TargetKind
    name: str
    qualifier: str | None
    base_url: str
    region: str

    def __post_init__(self) -> None:
        """Check the names and the host.

        Raises:
            ValueError: AWS does not allow the name or alias, or a function has no alias.
            ForeignTargetError: the host is neither loopback nor AWS's host of this service and region.
        """
        for name in (self.name, self.qualifier):
            if name is not None and not _NAME.match(name):
                raise ValueError(f"the target's name {name!r} must be letters, digits, hyphens and underscores")
        if self.kind == "function" and self.qualifier is None:
            raise ValueError(f"the function {self.name} needs an alias, because concurrency is set on an alias")
        require_own_host(self.kind, self.base_url, self.region)

    @property
    def title(self) -> str:
        """The target's name in reports."""
        return f"{self.name}:{self.qualifier}" if self.qualifier else self.name

    @property
    def host(self) -> str:
        """The host to connect to."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def port(self) -> int:
        """The port to connect to."""
        parts = urlsplit(self.base_url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.base_url).scheme == "https"

    @property
    def route(self) -> Route:
        """The address of requests, as it is signed."""
        netloc = urlsplit(self.base_url).netloc
        service = _SERVICES[self.kind]
        if self.kind == "endpoint":
            return Route(netloc, f"/endpoints/{self.name}/invocations", "", service, self.region)
        path = f"/2015-03-31/functions/{self.name}/invocations"
        return Route(netloc, path, f"Qualifier={self.qualifier}", service, self.region)

    @property
    def judge(self) -> Callable[[HttpAnswer], Outcome]:
        """The function that classifies this target's responses."""
        return endpoint_outcome if self.kind == "endpoint" else function_outcome

    def payloads(self, images: Sequence[str]) -> tuple[Payload, ...]:
        """Return a request body for each image: the file's bytes, or for a function JSON with "image" or "url".

        Raises:
            ImageError: there are no images, a file is missing or of an unknown type, or an endpoint was given a URL.
        """
        if not images:
            raise ImageError("there are no images: a load test sends real ones")
        make = _endpoint_payload if self.kind == "endpoint" else _function_payload
        return tuple(make(image) for image in images)


def require_own_host(kind: TargetKind, base_url: str, region: str) -> None:
    """Check that the host may be put under load.

    Raises:
        ForeignTargetError: the host is neither loopback nor, over https, AWS's host of this service and region.
    """
    parts = urlsplit(base_url)
    if parts.scheme in {"http", "https"} and parts.username is None and is_loopback(base_url):
        return
    own = f"{_HOSTS[kind]}.{region}.{dns_suffix(region)}"
    if parts.scheme == "https" and parts.netloc == own:
        return
    raise ForeignTargetError(f"{base_url} is not allowed: a load test goes to loopback or to https://{own} only")


def _is_url(image: str) -> bool:
    return image.startswith(("http://", "https://"))


def _endpoint_payload(image: str) -> Payload:
    if _is_url(image):
        raise ImageError(f"{image} is a URL, but an endpoint takes the image itself: pass a file, or test the function")
    return Payload.of(image, _read(image), _IMAGE_TYPES[Path(image).suffix.lower()])


def _function_payload(image: str) -> Payload:
    event = {"url": image} if _is_url(image) else {"image": base64.b64encode(_read(image)).decode("ascii")}
    return Payload.of(image, json.dumps(event).encode(), "application/json")


def _read(image: str) -> bytes:
    path = Path(image)
    if path.suffix.lower() not in _IMAGE_TYPES:
        raise ImageError(f"{image} is not an image: its name must end in {', '.join(_IMAGE_TYPES)}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{image} cannot be read: {error.strerror}") from error
