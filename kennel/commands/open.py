"""`kennel open`: prints the address of a run's page or of the embedded AWS's console, and opens it in a browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping

from kennel.commands.known_runs import latest_run, run_dir_of
from kennel.commands.status import REPORT
from kennel.servers import environment, localaws
from kennel.terminal.console import print_plain, say
from tasks.run.errors import SettingsRefused

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def open_console(*, only_print: bool) -> int:
    """Print the console's address, which has a secret token, and open it where there is a display and a terminal.

    Raises:
        SettingsRefused: the embedded AWS does not run, or was started by a release without a console.
        WaitTimedOut: it runs and hangs.
    """
    home, _ = environment.home_and_runs()
    environment.say_home(home)
    running = localaws.find(home)
    if running is None:
        what, why = "the embedded AWS of this home does not run", f"there is no server of {home}"
        raise SettingsRefused("kennel open --console", what, why, "kennel up, then kennel open --console")
    localaws.require_answer(running)
    if running.console_url is None:
        what, why = "the embedded AWS that runs has no console", "an older release started it"
        raise SettingsRefused("kennel open --console", what, why, "kennel down --yes, then kennel up")
    return _show(running.console_url, only_print=only_print)


def open_report(run_id: str | None, *, only_print: bool) -> int:
    """Print the address of the page of a run, or of the latest one, and open it likewise.

    Raises:
        SettingsRefused: there is no such run, or it has no page yet.
    """
    _, runs = environment.home_and_runs()
    run_dir = run_dir_of(runs, run_id) if run_id else latest_run(runs)
    page = run_dir / REPORT
    if not page.is_file():
        why = f"there is no {page}; a command writes it when all its stages are done"
        raise SettingsRefused("kennel open", f"run {run_dir.name} has no page", why, f"kennel status {run_dir.name}")
    return _show(page.resolve().as_uri(), only_print=only_print)


def _show(url: str, *, only_print: bool) -> int:
    print_plain(url)
    if not only_print and is_seen(os.environ) and not webbrowser.open(url):
        say("no browser was found; open the address by hand")
    return 0


def is_seen(variables: Mapping[str, str]) -> bool:
    """Return whether somebody sees a browser that this process opens: there are a terminal and a display."""
    has_display = sys.platform == "darwin" or any(variables.get(name) for name in DISPLAYS)
    return has_display and sys.stdout.isatty()
