"""Looks at this shell's limits (`ulimit`) before anything is started that would meet them in its middle.

A server that lacks files or memory hangs or ends with the words of whatever library met the limit first. Commands that
start no server need no more than Python does.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from tasks.run.errors import DiskFailed


@dataclass(frozen=True)
class Limit:
    """A limit of the kernel's, what it is of, the least that the servers work with, and the option of `ulimit`.

    `is_raised_fully`: it is raised as far as this user may, because more than the least may be needed.
    """

    number: int
    what: str
    needed: int
    option: str
    unit: int = 1
    is_raised_fully: bool = False


LIMITS = (
    Limit(resource.RLIMIT_NOFILE, "open files", 512, "-n"),
    Limit(resource.RLIMIT_AS, "KiB of address space", 4 * 2**30, "-v", 1024),
    Limit(resource.RLIMIT_DATA, "KiB of data", 4 * 2**30, "-d", 1024),
    Limit(resource.RLIMIT_FSIZE, "KiB in a file", 4 * 2**30, "-f", 1024, is_raised_fully=True),
    Limit(resource.RLIMIT_CPU, "seconds of processor time", 24 * 3600, "-t", is_raised_fully=True),
)
PROCESSES = Limit(resource.RLIMIT_NPROC, "processes and threads", 512, "-u")
"""Not for root, whom this limit does not bind."""


def require_limits() -> None:
    """Raise each limit that is too low as far as this user may; what is started inherits it.

    The servers outlive the command: the same command in another shell would meet a limit that this one had.

    Raises:
        DiskFailed: the user may not raise it far enough.
    """
    for limit in (*LIMITS, *([PROCESSES] if os.geteuid() else [])):
        soft, hard = resource.getrlimit(limit.number)
        if not _is_less(soft, limit.needed):
            continue
        if _is_less(hard, limit.needed):
            what, why = f"this shell allows {hard // limit.unit} {limit.what}", "training and the local servers need"
            again = (
                f"ulimit {limit.option} {limit.needed // limit.unit} in a shell that may, then the same command again"
            )
            raise DiskFailed("limits", what, f"{why} {limit.needed // limit.unit} at least", again)
        resource.setrlimit(limit.number, (hard if limit.is_raised_fully else limit.needed, hard))


def _is_less(value: int, needed: int) -> bool:
    return value != resource.RLIM_INFINITY and value < needed
