"""What a person sees: progress and errors on stderr, one table or one JSON object on stdout.

One screen a process, begun by the command before anything heavy is imported. Whatever is written to stdout, and every
error, takes a live view away first.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kennel.terminal.journey import Journey, earlier_seconds
from kennel.terminal.plain_view import NoView, PlainView, wrapped
from kennel.terminal.run_log import RunLog
from kennel.terminal.screen import Screen, View
from tasks.run.progress import Stage, log_stage

if TYPE_CHECKING:
    from tasks.run.errors import KennelError

LOGGER = logging.getLogger("kennel")
VERDICT_STYLES = {"PASS": "green", "FAIL": "bold red", "INCONCLUSIVE": "yellow"}


class _Shown:
    """The screen of this process and what it is drawn from."""

    screen: Screen | None = None
    journey = Journey((), {})
    is_quiet = False
    is_verbose = False


def begin(
    title: str,
    stages: Sequence[str] = (),
    *,
    expects: Mapping[str, float] | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Show that a command has begun; with `stages`, in one live view on a terminal, and nowhere a long silence.

    `expects` are the seconds of stages whose time the arguments say.

    Raises:
        SettingsRefused: it is to be quiet and verbose.
    """
    if quiet and verbose:
        from tasks.run.errors import SettingsRefused

        raise SettingsRefused(title, "--quiet with --verbose", "one leaves out what the other adds", "give one of them")
    end(is_finished=True)
    _Shown.journey, _Shown.is_quiet, _Shown.is_verbose = Journey(stages, expects or {}), quiet, verbose
    _Shown.screen = Screen(_view(title, quiet=quiet, verbose=verbose), RunLog(), tells_all=verbose)
    LOGGER.handlers[:] = [_Shown.screen]
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    if isinstance(_Shown.screen.view, PlainView) and stages:
        say(f"{title} begins")


def _view(title: str, *, quiet: bool, verbose: bool) -> View:
    has_stages = bool(_Shown.journey.legs)
    if quiet:
        return NoView()
    if has_stages and not verbose and sys.stderr.isatty():
        from kennel.terminal.live_view import LiveView

        return LiveView(title, _Shown.journey)
    return PlainView(_Shown.journey, beats=has_stages, shows_steps=verbose)


def works_on(run_dir: Path) -> None:
    """Name the run: its log gets every line, and earlier runs beside it say how long the stages may take."""
    _Shown.journey.expect(earlier_seconds(run_dir.parent))
    if _Shown.screen is not None:
        _Shown.screen.log.belongs_to(run_dir)


def end(*, is_finished: bool) -> None:
    """Take the view away; where the command did not finish, a live view's last picture stays."""
    if _Shown.screen is not None:
        _Shown.screen.view.close(is_finished=is_finished)


def say(message: str) -> None:
    """Write one line of progress."""
    LOGGER.info(message)


def stage(name: str, state: str, seconds: float = 0.0) -> None:
    """Show that a stage of the command's own begins or ends."""
    log_stage(Stage(name, "begins" if state == "begins" else "done", seconds))


def show_cursor() -> None:
    """Make a terminal's cursor visible, which a live view hides: from a signal handler, so one write and no lock."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")


def log_path() -> Path | None:
    """Return the log that this command writes, None where there is none."""
    return None if _Shown.screen is None else _Shown.screen.log.path


def print_json(content: Mapping[str, Any]) -> None:
    """Write one JSON object, in one line, to stdout."""
    end(is_finished=True)
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_error(error: KennelError, *, as_json: bool, why: str | None = None) -> int:
    """Write an error in its parts (what met, why, what next) and return the exit code; as JSON on stdout if asked.

    `why` is shown in place of the error's own, where that is on the screen already; the run's log has it all.
    """
    end(is_finished=False)
    if _Shown.screen is not None:
        _Shown.screen.log.add(f"kennel: {error}")
    log = log_path()
    first, *rest = (why or error.why).split("\n")  # what follows are lines of logs
    lines = [wrapped(f"kennel: {error.where}: {error.what}"), wrapped(f"  why:  {first}", hanging=" " * 8), *rest]
    lines += [f"  next: {error.next_command}"] + ([] if log is None else [f"  log:  {log}"])
    sys.stderr.write("\n" + "".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
    if as_json:
        print_json(error_json(error))
    return error.exit_code


def error_json(error: KennelError) -> dict[str, Any]:
    """Return what `--json` prints of an error."""
    parts = {"where": error.where, "what": error.what, "why": error.why, "next": error.next_command}
    return {"error": {"kind": type(error).__name__, **parts}, "exit_code": error.exit_code}


def print_table(title: str, rows: Mapping[str, str]) -> None:
    """Write a two-column table to stdout, wrapped at words, verdicts in their colours."""
    from rich.console import Console
    from rich.table import Table

    end(is_finished=True)
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, _coloured(value))
    Console(file=sys.stdout, soft_wrap=False).print(table)


def print_lines(lines: Sequence[str]) -> None:
    """Write lines to stdout, verdicts in their colours, each cut to the width so that it is one line."""
    from rich.console import Console

    end(is_finished=True)
    console = Console(file=sys.stdout, highlight=False)
    for line in lines:
        console.print(_coloured(line), no_wrap=True, overflow="ellipsis")


def print_commands(lines: Sequence[str]) -> None:
    """Write lines to stdout as they are, so that a command can be copied whole."""
    sys.stdout.write("\n".join(["", *lines, ""]))
    sys.stdout.flush()


def is_quiet() -> bool:
    """Whether only tables and errors are wanted."""
    return _Shown.is_quiet


def is_verbose() -> bool:
    """Whether everything is wanted."""
    return _Shown.is_verbose


def _coloured(text: str) -> Any:
    from rich.text import Text

    coloured = Text(text)
    for word, style in VERDICT_STYLES.items():
        coloured.highlight_regex(rf"\b{word}\b", style)
    return coloured
