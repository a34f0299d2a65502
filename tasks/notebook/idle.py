"""Stop this SageMaker notebook instance when nobody has worked on it for a while.

Runs on the instance, as root, every five minutes: the lifecycle configuration carries this file there as it is. Asks
Jupyter on this machine what its kernels and terminals did last, and at the limit calls StopNotebookInstance with the
instance's own role. Needs Python 3.8 and boto3.

In use: a kernel that is busy. Otherwise the last of these counts: a kernel's or terminal's last activity, what an
earlier check saw (a kernel that was shut down takes its stamp along), the machine's start. An open browser tab and a
program left in a terminal without a browser do not count. Jupyter not answering at all counts as nobody working, for
the limit that goes before it is long; an answer that cannot be understood stops nothing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS = 10
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NotUnderstood(Exception):
    """Jupyter answered something that says neither that it is in use nor that it is idle."""


@dataclass(frozen=True)
class Activity:
    """What was last done with a kernel or terminal, in seconds since the epoch."""

    what: str
    at: float
    is_busy: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether to stop, since when nothing happened (seconds since the epoch), and why that moment."""

    is_stop: bool
    last_active: float
    reason: str


def decide(
    activities: Sequence[Activity], *, now: float, booted: float, remembered: float, limit_seconds: float
) -> Decision:
    """Decide from what is known; a stamp in the future is a wrong clock and counts as now."""
    busy = [activity.what for activity in activities if activity.is_busy]
    if busy:
        return Decision(False, now, f"{busy[0]} is busy")
    moments = [(booted, "the start of the machine"), (remembered, "what an earlier check saw")]
    moments += [(activity.at, activity.what) for activity in activities]
    last, what = max((min(at, now), what) for at, what in moments)
    return Decision(now - last >= limit_seconds, last, f"last activity {now - last:.0f} s ago: {what}")


def read_activities(jupyter: str) -> list[Activity] | None:
    """Return what Jupyter's kernels and terminals did, or None when nothing answers.

    Raises:
        NotUnderstood: it refused, or answered something else than Jupyter's lists.
    """
    try:
        sessions = _ask(jupyter, "/api/sessions")
        kernels = _ask(jupyter, "/api/kernels")
        terminals = _ask(jupyter, "/api/terminals", missing=[])
    except OSError as error:
        print(f"notebook_idle: Jupyter does not answer: {error}")
        return None
    try:
        owners = {session["kernel"]["id"]: session.get("path") for session in sessions if session.get("kernel")}
        found = [_activity(f"kernel of {owners.get(kernel['id']) or kernel['id']}", kernel) for kernel in kernels]
        timed = [terminal for terminal in terminals if terminal.get("last_activity")]
        return found + [_activity(f"terminal {terminal['name']}", terminal) for terminal in timed]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"{type(error).__name__}: {error}") from error


def _activity(what: str, entry: Any) -> Activity:
    at = datetime.fromisoformat(entry["last_activity"].replace("Z", "+00:00")).timestamp()
    return Activity(what, at, entry.get("execution_state") == "busy")


def _ask(jupyter: str, path: str, missing: Any = None) -> Any:
    """Return what an address of Jupyter's answers; `missing` for one that it does not have."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate is self-signed, on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(jupyter + path, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404 and missing is not None:
            return missing
        raise NotUnderstood(f"{path} answered {error.code}") from error
    except (ValueError, http.client.HTTPException) as error:
        raise NotUnderstood(f"{path} did not answer JSON: {error!r}") from error


def read_moment(path: Path) -> float:
    """Return the moment that an earlier check kept, or 0 before the first; the file is gone after a restart."""
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return 0.0
    except ValueError:
        print(f"notebook_idle: {path} holds no moment and is written anew")
        return 0.0


def keep_moment(path: Path, moment: float) -> None:
    """Keep a moment, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(repr(moment))
    os.replace(temporary, path)  # noqa: PTH105 one call, as everywhere


def stop(name: str, region: str) -> None:
    """Stop the instance.

    Raises:
        BotoCoreError, ClientError: AWS refused or did not answer; the next check tries again.
    """
    import boto3

    boto3.client("sagemaker", region_name=region).stop_notebook_instance(NotebookInstanceName=name)


def loopback(url: str) -> str:
    """Return an address without a slash at its end; only this machine's, for no certificate is checked."""
    if urlsplit(url).hostname not in LOOPBACK:
        raise argparse.ArgumentTypeError(f"{url} is not this machine's")
    return url.rstrip("/")


def main(arguments: Sequence[str]) -> int:
    """Check once; return 0, or 1 when it could not be decided or stopped."""
    parser = argparse.ArgumentParser(description="Stop this notebook instance when it has been idle.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--idle-minutes", type=float, required=True)
    parser.add_argument("--jupyter", type=loopback, default="https://localhost:8443")
    parser.add_argument("--state", type=Path, default=Path("/run/kennel-notebook-idle"))
    parser.add_argument("--uptime", type=Path, default=Path("/proc/uptime"))
    parser.add_argument("--dry-run", action="store_true", help="say what would happen")
    given = parser.parse_args(arguments)
    now = time.time()
    try:
        activities = read_activities(given.jupyter)
    except NotUnderstood as error:
        print(f"notebook_idle: not stopped, for Jupyter was not understood: {error}")
        return 1
    decision = decide(
        activities or [],
        now=now,
        booted=now - float(given.uptime.read_text().split()[0]),
        remembered=read_moment(given.state),
        limit_seconds=given.idle_minutes * 60,
    )
    keep_moment(given.state, decision.last_active)
    print(f"notebook_idle: {'stop' if decision.is_stop else 'go on'}, {decision.reason}; {given.idle_minutes:g} min")
    if not decision.is_stop or given.dry_run:
        return 0
    try:
        stop(given.name, given.region)
    except Exception as error:  # noqa: BLE001 whatever it is belongs in the log, and the next check tries again
        print(f"notebook_idle: could not stop {given.name}: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
