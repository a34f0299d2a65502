"""Tells whether a child of localaws is at the other end of a TCP connection over loopback.

Linux has no credentials for such a connection: its inode is looked up in the kernel's table, and then among the
descriptors of the child's processes. Elsewhere psutil is asked. Costs some milliseconds, so once a connection.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from localaws.processes import Process

Address = tuple[str, int]  # IPv4 and port

_TABLE = Path("/proc/net/tcp")
_INODE = 9  # the column of the table


def holds(process: Process, near: Address, far: Address) -> bool:
    """Return whether the child, or what it started, holds the connection from `near`, its own address, to `far`."""
    has_it = _on_linux(near, far) if sys.platform == "linux" else _elsewhere(near, far)
    return has_it(process.program_pid) or any(has_it(member.pid) for member in process.members())


def _on_linux(near: Address, far: Address) -> Callable[[int], bool]:
    row = next((line for line in _TABLE.read_bytes().splitlines() if _ends(near, far) in line), None)
    wanted = f"socket:[{row.split()[_INODE].decode()}]" if row else None

    def has_it(pid: int) -> bool:
        with contextlib.suppress(OSError):  # it has ended, or closed a descriptor meanwhile
            return wanted is not None and any(_target(entry) == wanted for entry in Path(f"/proc/{pid}/fd").iterdir())
        return False

    return has_it


def _target(descriptor: Path) -> str | None:
    with contextlib.suppress(OSError):
        return str(descriptor.readlink())
    return None


def _ends(near: Address, far: Address) -> bytes:
    """Return how the kernel writes a connection: addresses in the byte order of this machine, ports as numbers."""
    numbers = [(int.from_bytes(map(int, host.split(".")), sys.byteorder), port) for host, port in (near, far)]
    return b" " + b" ".join(b"%08X:%04X" % number for number in numbers) + b" "


def _elsewhere(near: Address, far: Address) -> Callable[[int], bool]:
    def has_it(pid: int) -> bool:
        with contextlib.suppress(psutil.Error):
            return any((each.laddr, each.raddr) == (near, far) for each in psutil.Process(pid).net_connections("tcp4"))
        return False

    return has_it
