"""Stop this SageMaker notebook instance when it has been idle for a time limit.

This program runs on the instance, as root, every five minutes; the lifecycle configuration installs it. It asks the
local Jupyter server for the last activity of its kernels and terminals. At the limit it calls StopNotebookInstance with
the instance's role. It needs Python 3.8 and boto3.

A busy kernel means that the instance is in use. Otherwise the latest of these moments counts: the last activity of a
kernel or terminal, the activity that an earlier check recorded (a deleted kernel is no longer listed), and the start of
the machine. An open browser tab does not count, nor does a program in a terminal without a browser. If Jupyter does not
answer, there is no new activity. If its answer is not understood, the instance is not stopped.
"""

from __future__ import annotations

import argparse
import http.client
import json
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
    """Jupyter's answer does not tell whether the instance is in use."""


@dataclass(frozen=True)
class Activity:
    """The last activity of a kernel or terminal; `at` is in seconds since the epoch."""

    what: str
    at: float
    is_busy: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether to stop the instance, the moment of the last activity (seconds since the epoch), and the reason."""

    should_stop: bool
    last_active: float
    reason: str


def decide(
    activities: Sequence[Activity], *, now: float, booted: float, remembered: float, limit_seconds: float
) -> Decision:
    """Decide whether to stop; a moment in the future comes from a wrong clock and counts as now."""
    busy = [activity.what for activity in activities if activity.is_busy]
    if busy:
        return Decision(False, now, f"{busy[0]} is busy")
    moments = [(booted, "the start of the machine"), (remembered, "an activity that an earlier check recorded")]
    moments += [(activity.at, activity.what) for activity in activities]
    last, what = max((min(at, now), what) for at, what in moments)
    return Decision(now - last >= limit_seconds, last, f"the last activity was {now - last:.0f} s ago: {what}")


def read_activities(jupyter: str) -> list[Activity] | None:
    """Return the activities of Jupyter's kernels and terminals, or None if Jupyter does not answer.

    Raises:
        NotUnderstood: Jupyter refused, or its answer does not have the expected form.
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
    """Return Jupyter's JSON answer at a path, or `missing`, if given, when Jupyter does not have the path."""
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
    """Return the moment that an earlier check stored, or 0 if there is none; a restart deletes the file."""
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return 0.0
    except ValueError:
        print(f"notebook_idle: {path} contains no moment and is replaced")
        return 0.0


def keep_moment(path: Path, moment: float) -> None:
    """Store a moment in a file atomically."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(repr(moment))
    temporary.replace(path)


def stop(name: str, region: str) -> None:
    """Stop the instance.

    Raises:
        BotoCoreError, ClientError: AWS refused the call or did not answer; the next check tries again.
    """
    import boto3

    boto3.client("sagemaker", region_name=region).stop_notebook_instance(NotebookInstanceName=name)


def loopback_url(url: str) -> str:
    """Return a URL of this machine without a slash at its end.

    Raises:
        ArgumentTypeError: the host is not this machine, and its certificate would not be checked.
    """
    if urlsplit(url).hostname not in LOOPBACK:
        raise argparse.ArgumentTypeError(f"the host of {url} is not this machine")
    return url.rstrip("/")


def main(arguments: Sequence[str]) -> int:
    """Check once; return 0, or 1 if Jupyter's answer was not understood or the instance could not be stopped."""
    parser = argparse.ArgumentParser(description="Stop this notebook instance when it has been idle.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--idle-minutes", type=float, required=True)
    parser.add_argument("--jupyter", type=loopback_url, default="https://localhost:8443")
    parser.add_argument("--state", type=Path, default=Path("/run/kennel-notebook-idle"))
    parser.add_argument("--uptime", type=Path, default=Path("/proc/uptime"))
    parser.add_argument("--dry-run", action="store_true", help="print the decision and do not stop the instance")
    given = parser.parse_args(arguments)
    now = time.time()
    try:
        activities = read_activities(given.jupyter)
    except NotUnderstood as error:
        print(f"notebook_idle: the instance is not stopped, because Jupyter's answer was not understood: {error}")
        return 1
    decision = decide(
        activities or [],
        now=now,
        booted=now - float(given.uptime.read_text().split()[0]),
        remembered=read_moment(given.state),
        limit_seconds=given.idle_minutes * 60,
    )
    keep_moment(given.state, decision.last_active)
    action = "stop" if decision.should_stop else "keep running"
    print(f"notebook_idle: {action}: {decision.reason}; the limit is {given.idle_minutes:g} min")
    if not decision.should_stop or given.dry_run:
        return 0
    try:
        stop(given.name, given.region)
    except Exception as error:  # noqa: BLE001 every error is logged, and the next check tries again
        print(f"notebook_idle: could not stop {given.name}: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
