"""The command lines of processes that may end while they are looked at."""

import psutil


def command_line(process: psutil.Process) -> str:
    """Return the command line of a process, "" when it has ended, reaped or not."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie counts as one that does not exist
        return ""
