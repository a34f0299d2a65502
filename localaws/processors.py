"""How many processors localaws may use."""

import os


def usable_processors() -> int:
    """Return how many processors this process and its children may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
