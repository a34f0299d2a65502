"""Runs `localaws.command` in a Python that looks for modules in its own environment only.

A file on PYTHONPATH or in the current folder would else take the place of a library that localaws imports.
"""

import os
import shutil
import sys

DROPPED = {"PYTHONPATH", "PYTHONINSPECT", "PYTHONEXECUTABLE", "PYTHONWARNINGS", "PYTHONDEVMODE"}

if __name__ == "__main__":
    if DROPPED & set(os.environ) or not sys.flags.safe_path:
        environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
        program = shutil.which(sys.orig_argv[0]) or sys.executable
        os.execve(program, [program, "-P", *sys.orig_argv[1:]], environment)  # noqa: S606  no shell
    from localaws.command import main

    sys.exit(main(sys.argv[1:]))
