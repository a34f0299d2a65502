"""This machine: Python, the disk, the memory, and what its kernel lets the embedded AWS do."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import psutil

from tasks.doctor.findings import Finding, fail, ok, warn
from tasks.run.machine import usable_processors
from tasks.run.settings import Settings

LEAST_DISK_GB, ENOUGH_DISK_GB = 1.0, 5.0
"""The sample's run writes some 100 MB; the reference dataset has 1.1 GB, and its shards nearly as much again."""
LEAST_MEMORY_GB, ENOUGH_MEMORY_GB = 1.0, 3.0
"""A local run has servers, a training host with torch and a model server at the same time."""
NAMESPACE_SECONDS = 5.0
_CGROUP = Path("/sys/fs/cgroup")
_TRY = """
import ctypes, os, sys
c = ctypes.CDLL(None, use_errno=True)
flags = 0x10000000 | 0x00020000 | 0x20000000  # a user, a mount and a process namespace
if c.unshare(flags) or c.mount(None, b"/", None, 0x4000 | 0x40000, None):  # MS_REC | MS_PRIVATE
    sys.exit(os.strerror(ctypes.get_errno()))
"""


def machine_findings(settings: Settings, *, is_local: bool) -> Iterator[Finding]:
    """Yield what a command needs of this machine; `is_local`: the jobs run on it too."""
    yield python_finding()
    for folder in dict.fromkeys(_existing(path) for path in (settings.home, settings.runs)):
        yield disk_finding(folder, shutil.disk_usage(folder).free / 1e9)
    yield from folder_findings({"KENNEL_HOME": settings.home, "KENNEL_RUNS": settings.runs})
    if is_local:
        yield memory_finding(_available_bytes() / 1e9, usable_processors())


def python_finding() -> Finding:
    """Return the versions of what calls AWS; another Python than 3.11 does not get kennel installed."""
    versions = f"Python {platform.python_version()}, boto3 {version('boto3')}, SageMaker SDK {version('sagemaker')}"
    return ok("python", versions)


def disk_finding(folder: Path, free_gb: float) -> Finding:
    """Return whether there is room on the disk of a folder."""
    seen = f"{free_gb:,.1f} GB free below {folder.resolve()}"
    cure = "free disk space, or export KENNEL_HOME=<a folder on a larger disk>"
    if free_gb < LEAST_DISK_GB:
        return fail("disk", f"{seen}; a run needs {LEAST_DISK_GB:g} GB at least", cure)
    if free_gb < ENOUGH_DISK_GB:
        return warn("disk", f"{seen}; the reference dataset needs {ENOUGH_DISK_GB:g} GB", cure)
    return ok("disk", seen)


def folder_findings(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield which folders, by the settings that name them, cannot be written; nothing for those that can."""
    for setting, path in folders.items():
        nearest = _existing(path)
        cure = f"export {setting}=<a folder that you may write>"
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112 Path.is_dir() raises
            yield fail("disk", f"{path} is not a folder", f"remove or move {path}, or {cure}")
        elif not os.access(nearest, os.W_OK | os.X_OK):
            yield fail("disk", f"{nearest} is read-only, or this user may not write it", cure)


def memory_finding(available_gb: float, processors: int) -> Finding:
    """Return whether a run on this machine has the memory that it needs."""
    seen = f"{available_gb:,.1f} GB free, {processors} processors"
    cure = "end other programs, or use a machine with more memory"
    if available_gb < LEAST_MEMORY_GB:
        return fail("memory", f"{seen}; a local run needs {LEAST_MEMORY_GB:g} GB at least", cure)
    if available_gb < ENOUGH_MEMORY_GB:
        return warn("memory", f"{seen}; a local run uses up to {ENOUGH_MEMORY_GB:g} GB", cure)
    return ok("memory", seen)


def namespace_findings() -> Iterator[Finding]:
    """Yield whether this kernel lets a user's program have namespaces, in which localaws runs what is not its own."""
    yield namespace_finding(_refusal() if platform.system() == "Linux" else f"{platform.system()} has none")


def namespace_finding(refusal: str | None) -> Finding:
    """Return the row for what the kernel answered; None: it let us."""
    if refusal is None:
        return ok("namespaces", "the kernel lets programs have views of disk and processes of their own")
    what = f"no namespaces ({refusal}): users' programs see this machine's disk, and EC2 instances cannot start"
    return warn(
        "namespaces", what, "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a Linux that has them"
    )


def _refusal() -> str | None:
    tried = subprocess.run(
        [sys.executable, "-I", "-c", _TRY], capture_output=True, text=True, timeout=NAMESPACE_SECONDS, check=False
    )
    return None if tried.returncode == 0 else (tried.stderr.strip().splitlines() or ["it was ended"])[-1]


def _available_bytes() -> float:
    """Return the free memory: the machine's, or the control group's if that has less."""
    available = float(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return available if limit == "max" else min(available, int(limit) - int(used))
    except (OSError, ValueError):
        return available


def _existing(path: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(each for each in (path.resolve(), *path.resolve().parents) if os.path.isdir(each))  # noqa: PTH112
