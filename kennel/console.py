"""What a person sees: progress and errors on stderr, one table or one JSON object on stdout."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from tasks.errors import KennelError

LOGGER = logging.getLogger("kennel")


class _Stderr(logging.Handler):
    """Writes `  12.3 s  message` lines, the time since the command began."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._begun = time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        lead = f"{time.perf_counter() - self._begun:7.1f} s  "
        text = record.getMessage().replace("\n", "\n" + " " * len(lead))
        sys.stderr.write(f"{lead}{text}\n")
        sys.stderr.flush()


def show_progress() -> None:
    """Send the lines of the `kennel` logger to stderr, once."""
    if not any(isinstance(handler, _Stderr) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Stderr())
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def say(message: str) -> None:
    """Write one line of progress."""
    LOGGER.info(message)


def print_json(content: Mapping[str, Any]) -> None:
    """Write one JSON object, in one line, to stdout."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_error(error: KennelError, *, as_json: bool) -> int:
    """Write an error in its parts (what met, why, what next) and return the exit code; as JSON on stdout if asked."""
    sys.stderr.write(f"\nkennel: {error}\n")
    sys.stderr.flush()
    if as_json:
        parts = {"where": error.where, "what": error.what, "why": error.why, "next": error.next_command}
        print_json({"error": {"kind": type(error).__name__, **parts}, "exit_code": error.exit_code})
    return error.exit_code


def print_table(title: str, rows: Mapping[str, str]) -> None:
    """Write a two-column table to stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    Console(file=sys.stdout, soft_wrap=False).print(table)
