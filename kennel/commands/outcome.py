"""Writes the lines below a command's table: the verdicts that did not pass, and commands to run next."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kennel.servers import prefect, processes
from tasks.run.command_line import path_argument
from tasks.scaling.choice import format_amount

if TYPE_CHECKING:
    from tasks.run.records import FunctionRef
    from tasks.verdicts.verdicts import Verdict

PASSED = "PASS"
SEE_VERDICTS = "the verdicts above; their reasons are in the report"
_PICTURE = (".jpg", ".jpeg", ".png")


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line with the number of verdicts that passed, and a line for each that did not."""
    passed = sum(each.state == PASSED for each in verdicts)
    lines = [f"{passed} of {len(verdicts)} verdicts passed"]
    return lines + [_line(each) for each in verdicts if each.state != PASSED]


def _line(verdict: Verdict) -> str:
    seen = "not observed" if verdict.observed is None else format_amount(verdict.observed, verdict.unit)
    return f"  {verdict.state} {verdict.what}: {seen}, predicted {verdict.range}"


def next_lines(run_dir: Path, function: FunctionRef | None, home: Path, *, is_local: bool) -> list[str]:
    """Return commands to run next, with the run's names: ask the function, look at the run, remove everything."""
    kennel, page = program("kennel"), processes.find(home, prefect.NAME)
    return [
        *([] if function is None else _ask_lines(run_dir, function, is_local=is_local)),
        "Look at it:",
        f"  {kennel} status {run_dir.name}",
        f"  {kennel} open {run_dir.name}",
        *(_prefects_page(page.url, home) if page is not None else []),
        "Take it down:",
        f"  {kennel} down --yes",
    ]


def _ask_lines(run_dir: Path, function: FunctionRef, *, is_local: bool) -> list[str]:
    payload, photo = _payload(run_dir)
    return [
        "Ask it:",
        *([f'  eval "$({program("kennel")} up)"'] if is_local else []),
        *photo,
        f"  {program('aws')} lambda invoke --qualifier {function.alias} \\",
        f"    --function-name {function.name} \\",
        f"    --payload '{payload}' answer.json",
    ]


def _prefects_page(url: str, home: Path) -> list[str]:
    return [f"  {url} is Prefect's page; it asks for the line in {_from_here(prefect.password_path(home))}"]


def program(name: str) -> str:
    """Return how to call a program of this environment: by path if this command was called by path, else by name."""
    started = Path(sys.argv[0])
    beside = started.parent / name
    is_beside = started.name == "kennel" and started.parent.name and beside.exists()
    return path_argument(beside) if is_beside else name


def _payload(run_dir: Path) -> tuple[str, list[str]]:
    """Return a request, and the line that sets its photo, if the load test left one on this machine."""
    photos = (path for path in sorted((run_dir / "loadtest-images").glob("*")) if path.suffix.lower() in _PICTURE)
    photo = next(photos, None)
    if photo is None:
        return '{"url": "https://HOST/PHOTO.jpg"}', []
    return """{"image": "'$(base64 -w0 "$photo")'"}""", [f"  photo={path_argument(_from_here(photo))}"]


def _from_here(path: Path) -> str:
    """Return a path relative to the current directory if it is inside, else as it is."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
