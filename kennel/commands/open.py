"""`kennel open`: prints the address of the embedded AWS's console, and opens it in the browser of a person."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping

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
    print_plain(running.console_url)
    if not only_print and is_seen(os.environ) and not webbrowser.open(running.console_url):
        say("no browser was found; open the address by hand")
    return 0


def is_seen(variables: Mapping[str, str]) -> bool:
    """Return whether somebody sees a browser that this process opens: there are a terminal and a display."""
    has_display = sys.platform == "darwin" or any(variables.get(name) for name in DISPLAYS)
    return has_display and sys.stdout.isatty()
