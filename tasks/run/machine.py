"""Describe in one line the machine that a figure was measured on; reports print it beside every measured number."""

from __future__ import annotations

import os
import platform
import urllib.request
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from pydantic import SecretStr

from tasks.run.bounded_answers import BoundedConnection
from tasks.run.sealed import parse_json
from tasks.run.settings import LOCAL_HOSTING_PATH, Settings

LONGEST_BYTES = 2**20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: another place's answer is not this server's."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Connection(BoundedConnection, HTTPConnection):
    """A connection that bounds the whole answer."""


class _Bounded(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req)


_PROXYLESS = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect(), _Bounded())
"""Ignores proxy settings, because the embedded AWS is on loopback."""


def hardware() -> str:
    """Return the number and name of the usable processors, AMX bf16 if present, the system and Python's version."""
    information = _processor_information()
    names = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "unknown processor"
    units = " with AMX bf16" if "amx_bf16" in information else ""
    system, version = f"{platform.system()} {platform.machine()}", platform.python_version()
    return f"{usable_processors()} × {name}{units}, {system}, Python {version}"


def measured_on(settings: Settings) -> str:
    """Return where a run's seconds were measured: on AWS in a region, or on the embedded AWS on this machine.

    What the embedded AWS is started with is included: a time scale that is not 1, strictness, limits of its instances.
    """
    if not settings.target().runs_on_this_machine:
        return f"AWS, {settings.region}"
    clock = [] if settings.time_scale == 1.0 else [f"time scale {settings.time_scale:g}"]
    changed = ", ".join([*clock, *(["strict"] if settings.strict else []), *_hosting_limits(settings)])
    return f"the embedded AWS on {hardware()}" + (f" ({changed})" if changed else "")


def _hosting_limits(settings: Settings) -> list[str]:
    """Ask the embedded AWS for the limits of its hosting instances; another server on loopback has no such limits."""
    rules = ask_embedded_aws(settings, LOCAL_HOSTING_PATH)
    try:
        return [
            f"{name}: {rule['concurrency'] or 'its vCPUs'} requests at once, {rule['floor_ms']:g} ms or more each"
            for name, rule in rules.items()
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def ask_embedded_aws(settings: Settings, path: str, *, token: SecretStr | None = None) -> Any:
    """Return the JSON answer of the embedded AWS at one of its own paths, or None if no embedded AWS answers.

    A path that is not open to all programs of this machine asks for the server's token.
    """
    if settings.endpoint_url is None:
        return None
    address = f"{settings.endpoint_url.rstrip('/')}{path}"
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        return parse_json(fetch_from_loopback(address, settings.connect_timeout_seconds, headers))
    except (OSError, HTTPException, ValueError):
        return None


def fetch_from_loopback(url: str, timeout_seconds: float, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the body of the answer to a GET request of a server on loopback, where no proxy is between.

    Raises:
        OSError, HTTPException: there is no whole answer in that time; HTTPError: it is an error or a redirect.
        ValueError: it is longer than any of localaws's.
    """
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 loopback
    try:
        opened = _PROXYLESS.open(request, timeout=timeout_seconds)
    except HTTPError as error:
        error.close()
        raise
    with opened as answer:
        body: bytes = answer.read(LONGEST_BYTES + 1)
        if len(body) > LONGEST_BYTES:
            raise ValueError(f"{url} answered with more than {LONGEST_BYTES:,} bytes")
        if answer.length:
            raise IncompleteRead(body, answer.length)
    return body


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_information() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
