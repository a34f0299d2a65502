"""Keeps the user's proxies, AWS configuration and Prefect settings out of the work on this machine.

Loopback is never proxied; everything else, such as the download of a dataset, still is. What follows from
`AWS_PROFILE` or `PREFECT_API_KEY` belongs to other accounts and other servers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""What all clients understand: only requests reads networks, and "[::1]" is an error to httpx."""

_BYPASS = ("NO_PROXY", "no_proxy")
"""Clients read either; where both are set, most prefer the lower case."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_NO_PROXY = "kennel takes proxies of the form http://HOST:PORT or https://HOST:PORT only"
_CERTIFICATES = "SSL_CERT_FILE"
_KEPT = {
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
}
"""What names an AWS on loopback and how to call it; every other AWS_ variable would change how it is called."""


def never_proxy_loopback(environment: MutableMapping[str, str]) -> None:
    """Add loopback to the user's own list of what is not proxied; a list in either case then holds in both."""
    environment.update(proxy_bypass(environment))


def proxy_bypass(environment: Mapping[str, str]) -> dict[str, str]:
    """Return both variables that say what is not proxied: the user's list and loopback."""
    given = next((environment[name] for name in reversed(_BYPASS) if environment.get(name)), "")
    listed = [part.strip() for part in given.split(",") if part.strip()]
    every = "*" if "*" in listed else ",".join(dict.fromkeys([*listed, *LOOPBACK]))
    return dict.fromkeys(_BYPASS, every)


def drop_unusable(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Remove proxies that are not http or https, and a missing file of certificates; return why, by the variable.

    Prefect's client ends with an ImportError or FileNotFoundError at them, although it asks loopback only.
    """
    proxies = [name for each in _PROXIES for name in (each, each.lower())]
    unusable = {name: _NO_PROXY for name in proxies if environment.get(name) and not _is_proxy(environment[name])}
    if environment.get(_CERTIFICATES) and not Path(environment[_CERTIFICATES]).is_file():
        unusable[_CERTIFICATES] = "there is no such file"
    for name in unusable:
        del environment[name]
    return unusable


def _is_proxy(value: str) -> bool:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        return False


def has_proxy(environment: Mapping[str, str]) -> bool:
    """Tell whether the user has set a proxy."""
    return any(environment.get(spelling) for name in _PROXIES for spelling in (name, name.lower()))


def foreign_names(environment: Mapping[str, str]) -> list[str]:
    """Return the user's AWS_ variables that would change how the embedded AWS is called."""
    return sorted(name for name in environment if name.startswith("AWS_") and name not in _KEPT)


def isolate_aws(environment: MutableMapping[str, str]) -> None:
    """Leave nothing of the user's AWS configuration, neither variables nor files, but the endpoint and its keys."""
    for name in foreign_names(environment):
        del environment[name]
    environment.update(dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull))


def isolate_prefect(environment: MutableMapping[str, str]) -> None:
    """Leave nothing of the user's Prefect settings, such as a key, a profile or a database of another server."""
    for name in [name for name in environment if name.startswith("PREFECT_") and not name.startswith("PREFECT__")]:
        del environment[name]


@contextlib.contextmanager
def prefect_imported_in(folder: Path) -> Iterator[None]:
    """Make `folder` the current one while the block imports Prefect, if it is the home of Prefect that is used.

    When Prefect is imported, it reads settings also from `.env`, `prefect.toml` and `pyproject.toml` of the current
    folder. Those are the user's; they hold where the user's own Prefect server is used.
    """
    if os.environ.get("PREFECT_HOME") != str(folder):
        yield
        return
    with contextlib.chdir(folder):
        yield
