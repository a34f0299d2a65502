"""Runs `localaws.command` in a Python that looks for modules in its own environment only.

A file on PYTHONPATH or in the current folder would else take the place of a library that localaws imports.
"""

import os
import sys

if __name__ == "__main__":
    if "PYTHONPATH" in os.environ or not sys.flags.safe_path:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        os.execve(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]], environment)  # noqa: S606  no shell
    from localaws.command import main

    sys.exit(main(sys.argv[1:]))
