"""Keeps the user's proxies and AWS configuration, which the shell may hold, out of calls to loopback."""

import os
import shlex
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BYPASS = ("NO_PROXY", "no_proxy")  # most clients prefer the lower case where both are set
_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CA_BUNDLE")


def isolate(environment: MutableMapping[str, str]) -> None:
    """Let this program's own clients call loopback directly, and read no profile of the user's."""
    environment.update(proxy_bypass(environment))
    for name in _PROFILES:
        environment.pop(name, None)
    environment.update(dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull))


def command(verb: str, home: Path) -> str:
    """Return a command of localaws for a home, as a shell takes it."""
    return f"python -m localaws {verb} --home={shlex.quote(str(home))}"


def proxy_bypass(environment: Mapping[str, str]) -> dict[str, str]:
    """Return both variables with the user's list and loopback; nothing when there is no proxy."""
    if not any(environment.get(name) for name in _PROXIES):
        return {}
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    listed = [part.strip() for part in given.split(",") if part.strip()]
    every = "*" if "*" in listed else ",".join(dict.fromkeys([*listed, *_LOOPBACK]))
    return dict.fromkeys(_BYPASS, every)
