"""Prints progress and errors to stderr, and one table or one JSON object to stdout.

A process has one screen, which the command begins before its slow imports. A live view is removed before anything is
written to stdout and before an error is printed. Whatever is printed passes `terminal_text` here or in a view, because
names, log lines and messages of others may hold control characters.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kennel.terminal.plain_view import NoView, PlainView, wrapped
from kennel.terminal.run_log import RunLog
from kennel.terminal.screen import Screen, View
from kennel.terminal.stages import CommandStages, earlier_seconds
from tasks.run.escaping import terminal_text
from tasks.run.progress import LOGGER, Stage, log_stage
from tasks.run.sealed import strict_json

if TYPE_CHECKING:
    from tasks.run.errors import KennelError

VERDICT_STYLES = {
    "PASS": "green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "yellow",
    "OK": "green",
    "WARN": "yellow",
    "SKIPPED": "bold yellow",
}


class _Current:
    """The screen of this process, the stages that it shows, and its options."""

    screen: Screen | None = None
    stages = CommandStages((), {})
    is_quiet = False
    is_verbose = False


def begin(
    title: str,
    stages: Sequence[str] = (),
    *,
    expects: Mapping[str, float] | None = None,
    quiet: bool = False,
    verbose: bool = False,
    follows: bool = False,
) -> None:
    """Show that a command has begun.

    With `stages`, a terminal shows a live view. Elsewhere a line is printed at least every ten seconds, unless the
    command `follows` what others do and is silent with them. `expects` has the seconds of the stages whose time follows
    from the arguments.

    Raises:
        SettingsRefused: both `quiet` and `verbose` are given.
    """
    if quiet and verbose:
        from tasks.run.errors import SettingsRefused

        raise SettingsRefused(title, "--quiet with --verbose", "the two contradict each other", "give one of them")
    end(is_finished=True)
    _Current.stages, _Current.is_quiet, _Current.is_verbose = CommandStages(stages, expects or {}), quiet, verbose
    _Current.screen = Screen(_view(title, quiet=quiet, verbose=verbose, follows=follows), RunLog(), shows_all=verbose)
    LOGGER.handlers[:] = [_Current.screen]
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    if isinstance(_Current.screen.view, PlainView) and stages:
        say(f"{title} begins")


def _view(title: str, *, quiet: bool, verbose: bool, follows: bool) -> View:
    if quiet:
        return NoView()
    if _Current.stages.all and not verbose and sys.stderr.isatty():
        from kennel.terminal.live_view import LiveView

        return LiveView(title, _Current.stages)
    return PlainView(_Current.stages, breaks_silence=not follows, shows_steps=verbose)


def set_run(run_dir: Path) -> None:
    """Set the run of this command: its log gets every line, and the times of earlier runs become the estimates."""
    _Current.stages.expect(earlier_seconds(run_dir.parent))
    if _Current.screen is not None:
        _Current.screen.log.set_run(run_dir)


def end(*, is_finished: bool) -> None:
    """Remove the view; the last picture of a live view stays when the command did not finish."""
    if _Current.screen is not None:
        with contextlib.suppress(OSError):  # the terminal was closed
            _Current.screen.view.close(is_finished=is_finished)


def say(message: str) -> None:
    """Print one line of progress."""
    LOGGER.info(message)


def stage(name: str, state: str, seconds: float = 0.0) -> None:
    """Show that a stage outside of the flow begins or ends."""
    log_stage(Stage(name, "begins" if state == "begins" else "done", seconds))


def show_cursor() -> None:
    """Show the cursor, which a live view hides; this is one write without a lock, for use in a signal handler."""
    if os.isatty(2):
        with contextlib.suppress(OSError):  # the terminal was closed
            os.write(2, b"\x1b[?25h")


def log_path() -> Path | None:
    """Return the path of the log that this command writes, or None when there is none."""
    return None if _Current.screen is None else _Current.screen.log.path


@contextlib.contextmanager
def to_stdout() -> Iterator[None]:
    """Flush stdout after the block.

    Raises:
        DiskFailed: what stdout leads to cannot be written; it leads nowhere from then on, or Python would fail again.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from tasks.run.errors import DiskFailed

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        what, why = "standard output cannot be written", os.strerror(error.errno or 0)
        again = "free disk space where it leads, or let it lead elsewhere, then run the same command again"
        raise DiskFailed("kennel", what, why, again) from error


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object, on one line of ASCII, to stdout; its strings are exact."""
    end(is_finished=True)
    with to_stdout():
        sys.stdout.write(strict_json(content) + "\n")


def print_error(error: KennelError, *, as_json: bool, why: str | None = None) -> int:
    """Print an error in its parts (what, why, next) and return its exit code; with `as_json`, also as JSON on stdout.

    `why` replaces the error's own reason when that is on the screen already; the run's log has the whole error.
    """
    end(is_finished=False)
    if _Current.screen is not None:
        _Current.screen.log.add(f"kennel: {error}")
    log = log_path()
    first, *rest = (why or error.why).split("\n")  # further lines are those of a log
    head, todo = (" ".join(text.split("\n")) for text in (f"{error.where}: {error.what}", error.next_command))
    lines = [wrapped(f"kennel: {head}"), wrapped(f"  why:  {first}", hanging=" " * 8)]
    lines += [f"{' ' * 4}{line}" for line in rest]  # so that no line of a log looks like one of the error
    lines += [f"  next: {todo}"] + ([] if log is None else [f"  log:  {log}"])
    with contextlib.suppress(OSError):  # the terminal was closed
        sys.stderr.write("\n" + "".join(f"{terminal_text(line)}\n" for line in lines))
        sys.stderr.flush()
    if as_json:
        print_json(error_json(error))
    return error.exit_code


def error_json(error: KennelError) -> dict[str, Any]:
    """Return the JSON object of an error, for `--json`."""
    parts = {"where": error.where, "what": error.what, "why": error.why, "next": error.next_command}
    return {"error": {"kind": type(error).__name__, **parts}, "exit_code": error.exit_code}


def interruption_json(cause: str, exit_code: int) -> bytes:
    """Return the line of JSON with which a command with `--json` ends when it is interrupted."""
    again = "run the same command again, or kennel down --yes"
    parts = {"where": "kennel", "what": cause, "why": "a signal ended the command", "next": again}
    return strict_json({"error": {"kind": "Interrupted", **parts}, "exit_code": exit_code}).encode() + b"\n"


def print_table(title: str, rows: Mapping[str, str]) -> None:
    """Print a two-column table to stdout, wrapped at words, with coloured verdicts."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    end(is_finished=True)
    table = Table(title=Text(terminal_text(title)), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(terminal_text(name)), _coloured(value))
    with to_stdout():
        Console(file=sys.stdout, soft_wrap=False).print(table)


LEAST_WIDTH = 12
"""Of the first column of a table, in characters; the others take as much as they need."""


def print_columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, folds_all: bool = False) -> None:
    """Print a table with a head to stdout; where the terminal is too narrow the first column, or each, is folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    end(is_finished=True)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(head):
        is_whole = number > 0 and not folds_all
        table.add_column(
            Text(terminal_text(name)), overflow="fold", no_wrap=is_whole, min_width=0 if number else LEAST_WIDTH
        )
    for row in rows:
        table.add_row(*[_coloured(cell) for cell in row])
    with to_stdout():
        Console(file=sys.stdout, soft_wrap=False).print(table)


def print_lines(lines: Sequence[str]) -> None:
    """Print lines to stdout with coloured verdicts; a line that is too long for the terminal is cut."""
    from rich.console import Console

    end(is_finished=True)
    console = Console(file=sys.stdout, highlight=False)
    with to_stdout():
        for line in lines:
            console.print(_coloured(line), no_wrap=True, overflow="ellipsis")


def print_aside(lines: Sequence[str]) -> None:
    """Print lines to stderr as they are, beside the result on stdout."""
    end(is_finished=True)
    with contextlib.suppress(OSError):  # the terminal was closed
        sys.stderr.write("".join(f"{terminal_text(line)}\n" for line in lines))
        sys.stderr.flush()


def print_commands(lines: Sequence[str]) -> None:
    """Print lines to stdout without wrapping them, so that commands can be copied."""
    print_plain("\n".join(["", *lines]))


def print_plain(text: str) -> None:
    """Print a text to stdout as it is, neither wrapped nor coloured: a line of a log, a command to copy."""
    with to_stdout():
        sys.stdout.write(f"{terminal_text(text)}\n")


def print_log_line(line: str) -> None:
    """Print an entry of a log to stdout; its further lines are indented, so that they do not look like entries."""
    print_plain(line.replace("\n", "\n    "))


def accept_any_text() -> None:
    """Let stdout and stderr replace what their encoding lacks instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_quiet() -> bool:
    """Tell whether `--quiet` was given: only the result and errors are printed."""
    return _Current.is_quiet


def is_verbose() -> bool:
    """Tell whether `--verbose` was given: every line is printed."""
    return _Current.is_verbose


def _coloured(text: str) -> Any:
    from rich.text import Text

    coloured = Text(terminal_text(text))
    for word, style in VERDICT_STYLES.items():
        coloured.highlight_regex(rf"\b{word}\b", style)
    return coloured
