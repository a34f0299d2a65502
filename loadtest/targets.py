"""What is put under load: a SageMaker endpoint or a Lambda function through its alias, and only if it is ours.

A load test at somebody else's host is an attack, so the host is checked before a socket is opened (fault I5): loopback,
or exactly AWS's host of the service in the plan's region.
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
from tasks.run.settings import is_loopback

TargetKind = Literal["endpoint", "function"]

_NAME = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$")
_HOSTS: dict[TargetKind, str] = {"endpoint": "runtime.sagemaker", "function": "lambda"}
_SERVICES: dict[TargetKind, str] = {"endpoint": "sagemaker", "function": "lambda"}
_IMAGE_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


class ForeignTargetError(ValueError):
    """The host is neither loopback nor AWS's own host of the service."""


class ImageError(ValueError):
    """An image cannot be sent to this kind of target."""


@dataclass(frozen=True)
class LoadTarget:
    """One endpoint (`qualifier` is its variant or None) or function (`qualifier` is its alias), at a base URL."""

    kind: TargetKind
    name: str
    qualifier: str | None
    base_url: str
    region: str

    def __post_init__(self) -> None:
        """Check name and host.

        Raises:
            ValueError: the name or alias is not one that AWS allows, or a function comes without an alias.
            ForeignTargetError: the host is neither loopback nor AWS's own of this service and region.
        """
        for name in (self.name, self.qualifier):
            if name is not None and not _NAME.match(name):
                raise ValueError(f"target name {name!r} must be letters, digits, hyphens and underscores")
        if self.kind == "function" and self.qualifier is None:
            raise ValueError(f"function {self.name} needs an alias: concurrency is set on it, not on $LATEST")
        require_own_host(self.kind, self.base_url, self.region)

    @property
    def title(self) -> str:
        """How reports name the target."""
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
        """The request's address, as it is signed."""
        netloc = urlsplit(self.base_url).netloc
        service = _SERVICES[self.kind]
        if self.kind == "endpoint":
            return Route(netloc, f"/endpoints/{self.name}/invocations", "", service, self.region)
        path = f"/2015-03-31/functions/{self.name}/invocations"
        return Route(netloc, path, f"Qualifier={self.qualifier}", service, self.region)

    @property
    def judge(self) -> Callable[[HttpAnswer], Outcome]:
        """What tells success from failure in this target's answers."""
        return endpoint_outcome if self.kind == "endpoint" else function_outcome

    def payloads(self, images: Sequence[str]) -> tuple[Payload, ...]:
        """Return one request body for each image: the file's bytes, or for a function JSON with "image" or "url".

        Raises:
            ImageError: there is none, a file is missing or of an unknown type, or a URL is meant for an endpoint.
        """
        if not images:
            raise ImageError("no images: a load test sends real ones")
        make = _endpoint_payload if self.kind == "endpoint" else _function_payload
        return tuple(make(image) for image in images)


def require_own_host(kind: TargetKind, base_url: str, region: str) -> None:
    """Refuse a host that is not ours.

    Raises:
        ForeignTargetError: it is neither loopback nor, over https, AWS's own host of this service and region.
    """
    parts = urlsplit(base_url)
    if parts.scheme in {"http", "https"} and parts.username is None and is_loopback(base_url):
        return
    own = f"{_HOSTS[kind]}.{region}.amazonaws.com"
    if parts.scheme == "https" and parts.netloc == own:
        return
    raise ForeignTargetError(f"{base_url} is not ours: a load test goes to loopback or to https://{own} only")


def _is_url(image: str) -> bool:
    return image.startswith(("http://", "https://"))


def _endpoint_payload(image: str) -> Payload:
    if _is_url(image):
        raise ImageError(f"{image}: an endpoint takes the image itself; give a file, or test the function")
    return Payload.of(image, _read(image), _IMAGE_TYPES[Path(image).suffix.lower()])


def _function_payload(image: str) -> Payload:
    event = {"url": image} if _is_url(image) else {"image": base64.b64encode(_read(image)).decode("ascii")}
    return Payload.of(image, json.dumps(event).encode(), "application/json")


def _read(image: str) -> bytes:
    path = Path(image)
    if path.suffix.lower() not in _IMAGE_TYPES:
        raise ImageError(f"{image}: must end in {', '.join(_IMAGE_TYPES)}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{image}: {error.strerror}") from error
