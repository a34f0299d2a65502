"""Turns whatever a command raised into a `KennelError`, and writes the traceback of a defect to a file."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
import traceback
from pathlib import Path

from kennel.terminal.console import say
from tasks.run.disk import disk_failure, exhaustion
from tasks.run.errors import KennelError, StageFailed, Unexpected, unexpected
from tasks.run.escaping import terminal_text
from tasks.run.own_files import ANEW, open_own
from tasks.run.settings import Settings

FOLDER = "logs"
LEAST_FREE_BYTES = 1 << 20
"""SQLite needs some pages of 4 KiB beside its database, and its log grows to 4 MB."""


def as_kennel_error(error: Exception) -> KennelError:
    """Return the error to print; of an unexpected one, the reason names the file that has its traceback (mode 0600)."""
    if isinstance(error, KennelError) and not isinstance(error, Unexpected):
        if isinstance(error.__cause__, Unexpected) and (path := _write_traceback(error)):
            error.why += f"; a defect is among the causes, its traceback is in {path}"
        return error
    failed = (disk_failure(error, "kennel") if isinstance(error, OSError) else None) or exhaustion(error, "kennel")
    if failed is not None:
        return failed
    if _is_prefects(error):
        if (full := _full_home()) is not None:
            return full
        why = f"a call to it failed: {type(error).__name__}: {error}"
        return StageFailed("Prefect's server", "it does not answer as expected", why, "run the same command again")
    found = error if isinstance(error, Unexpected) else unexpected(error, "internal error")
    path = _write_traceback(error)
    found.why += f"; its traceback is in {path}" if path else f"\n{_traceback(error)}"
    return found


def say_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Say that a thread has ended by an error, and where its traceback is; this is a `threading.excepthook`."""
    if isinstance(ended.exc_value, Exception) and ended.thread is not None:
        error = as_kennel_error(ended.exc_value)
        say(f"WARNING: thread {ended.thread.name!r} ended: {error.what}: {error.why}")


def _full_home() -> KennelError | None:
    """Return the error of a disk that has no room for Prefect's database; its server then answers with 500 only."""
    with contextlib.suppress(KennelError, OSError):
        database = Settings.load().home.resolve() / "prefect" / "prefect.db"
        if shutil.disk_usage(database.parent).free < LEAST_FREE_BYTES:
            return disk_failure(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "Prefect's server", database)
    return None


def _is_prefects(error: Exception) -> bool:
    """Tell whether a call to Prefect's server failed; all other HTTP calls of kennel translate their own errors."""
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"httpx", "prefect"})


def _write_traceback(error: Exception) -> Path | None:
    """Write the traceback into the home's logs; return None when that is impossible, as on a full disk."""
    with contextlib.suppress(KennelError, OSError):
        process, thread = os.getpid(), threading.get_native_id()
        owner = f"{process}" if thread == process else f"{process}-{thread}"  # the first thread has its number
        name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{owner}.txt"
        path = Settings.load().home / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(open_own(path, ANEW), "w") as file:
            file.write(terminal_text(_traceback(error)))
        return path
    return None


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
