"""Starts the `kennel` command in a Python that looks for modules in its own environment only.

A file on PYTHONPATH, or in the current folder of `python -m kennel`, would else take the place of a package of ours
(`tasks.py`) or of a library (`json.py`). This module stands beside the packages and has a name of its own, because
`kennel.py` is such a file too.
"""

import os
import shutil
import sys

DROPPED = {"PYTHONPATH", "PYTHONINSPECT", "PYTHONEXECUTABLE", "PYTHONWARNINGS", "PYTHONDEVMODE"}
"""What would change which modules are found, how the command ends, and which Python its servers run in.

The last two make errors of warnings that libraries give: Prefect's server would not start.
"""


def main() -> None:
    """Run the command; where one of `DROPPED` is set or the current folder searched, this process first starts anew."""
    _open_standard_streams()
    if DROPPED & set(os.environ) or _is_module():
        environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
        program = shutil.which(sys.orig_argv[0]) or sys.executable  # PYTHONEXECUTABLE names sys.executable
        os.execve(program, [program, "-P", *sys.orig_argv[1:]], environment)  # noqa: S606  no shell
    from kennel.signals import exit_now, install

    install(exit_now)  # the command line's imports take longer than a person who changes their mind
    from kennel.cli import main

    main()


def _open_standard_streams() -> None:
    """Let a stream that the caller closed lead nowhere: a file opened later would get its number, and what is said."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _is_module() -> bool:
    """Tell whether `python -m` put the current folder before all others, as it does without -P."""
    return "-m" in sys.orig_argv and not sys.flags.safe_path
