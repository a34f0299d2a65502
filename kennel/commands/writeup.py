"""`kennel writeup`: one paragraph an answer as PDF and HTML, every figure cited from a run's records."""

from __future__ import annotations

from collections.abc import Sequence

from kennel.commands.known_runs import run_dir_of
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_plain, say


def writeup(run_ids: Sequence[str], *, is_checked: bool, as_json: bool) -> int:
    """Write the writeup of the first run, compared with the others; or check that it still is what the records say.

    Raises:
        SettingsRefused: no run was named, or there is no such run.
        StageFailed: a figure cannot be cited, or is not that of its record any more; the message names file and key.
        DiskFailed: a file cannot be written.
    """
    from tasks.run.handle import RunFolder
    from tasks.writeup.writeup import check_writeup, write_writeup

    begin("kennel writeup")
    home, runs = environment.home_and_runs()
    environment.say_home(home)
    folders = [RunFolder(run_dir_of(runs, name)) for name in run_ids]
    if is_checked:
        checked = check_writeup(folders)
        if as_json:
            print_json({"run_id": run_ids[0], "citations": checked})
        else:
            say(f"all {checked} citations are what the records say")
        return 0
    files = write_writeup(folders)
    if as_json:
        print_json({"run_id": run_ids[0], "files": [str(path) for path in files]})
    else:
        for path in files:
            print_plain(str(path))
    return 0
