"""Ends the work of this process when it is interrupted: nothing more is created, and its helper processes are killed.

The threads of an interrupted process go on until it exits. One of them could launch an instance in place of the one
that was just terminated; the ledger, which every creating call passes, refuses that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection

import psutil

from tasks.run.errors import StageFailed

_ends = threading.Event()


def stop_work(*, keep: Collection[int] = ()) -> None:
    """Let this process create nothing more, and kill its children with theirs, except those whose ids are in `keep`."""
    _ends.set()
    for child in psutil.Process().children():
        if child.pid not in keep:
            _kill_tree(child)


def refuse_when_ending(kind: str, name: str) -> None:
    """Check that this process may still create something.

    Raises:
        StageFailed: `stop_work` was called.
    """
    if _ends.is_set():
        why = "this process was interrupted and only cleans up"
        raise StageFailed(f"{kind} {name}", "it is not created any more", why, "run the same command again")


def _kill_tree(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                member.kill()
