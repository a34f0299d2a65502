"""Finds handlers' processes from outside: they know their ids only in a process table of their own."""

import functools
import os
from typing import Any

import psutil

NAMES = ("AWS_LAMBDA_LOG_STREAM_NAME", "HOME")  # of an environment's process, of a model server's
WHO = "'outer:' + (os.environ.get('AWS_LAMBDA_LOG_STREAM_NAME') or os.environ['HOME'])"
"""Source for a handler that imports os: what stands for its process until `translated` replaces it."""


def translated(answer: Any) -> Any:
    """Return the answer with process ids in the place of what handlers said; unchanged where one has ended."""
    if isinstance(answer, dict):
        return {name: translated(value) for name, value in answer.items()}
    if isinstance(answer, str) and answer.startswith("outer:"):
        return _pid_of(answer.removeprefix("outer:")) or answer
    return answer


def processes_with(value: str) -> list[psutil.Process]:
    """Return the processes of an environment or model server by its log stream or home, the oldest first."""
    found = [process for process in psutil.process_iter() if value in _values(process)]
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def is_gone(pid: int) -> bool:
    """Return whether a process has ended and its exit status was taken."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@functools.cache
def _pid_of(value: str) -> int | None:
    found = processes_with(value)
    return found[0].pid if found else None


def _values(process: psutil.Process) -> list[str | None]:
    try:
        environment = process.environ()
    except psutil.Error:
        return []
    return [environment.get(name) for name in NAMES]
