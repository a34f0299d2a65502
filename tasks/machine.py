"""The machine that a figure was measured on, in one line: no measured number is printed without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tasks.settings import Settings


def hardware() -> str:
    """Return processors that this process may use, their name, AMX bf16 if they have it, system and Python version."""
    information = _processor_information()
    names = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "unknown processor"
    units = " with AMX bf16" if "amx_bf16" in information else ""
    return (
        f"{_processors()} × {name}{units}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def where(settings: Settings) -> str:
    """Return what a run's seconds were measured on: AWS and its region, or the embedded AWS and this machine."""
    if settings.target() == "aws":
        return f"AWS, {settings.region}"
    return f"the embedded AWS on {hardware()}"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_information() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
