"""A process and its descendants, as far as they can be seen: any of them may end while it is looked at."""

import psutil


def family(pid: int) -> list[psutil.Process]:
    """Return the process and what descends from it; nothing if it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def memory_bytes(pid: int) -> int:
    """Return the resident size of a process and its descendants, 0 if it has ended; shared pages count for each."""
    return sum(_own_bytes(process) for process in family(pid))


def _own_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # it has ended: that the others use memory is still so
