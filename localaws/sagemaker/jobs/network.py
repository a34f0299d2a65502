"""The network of a job's hosts: namespaces where the kernel gives them, else this machine's loopback."""

import contextlib
import queue
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from localaws.errors import LocalAwsError
from localaws.processes import Process, ProcessTable
from localaws.programs import launch_command
from localaws.programs.layout import HOST_INTERFACE

READY_SECONDS = 10.0
CLOSE_SECONDS = 2.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NamespaceError(LocalAwsError):
    """The kernel does not give what a host of its own needs; the message says what it refused."""


@dataclass(frozen=True)
class Network:
    """The networks of a job's hosts.

    `namespaces` has the paths of each host's user and network namespace, none where the kernel gives none; there
    `master_port` stands for 7777. `interface` leads from each host to the others.
    """

    namespaces: tuple[tuple[str, str], ...]
    process: Process | None
    interface: str
    master_port: int

    @property
    def is_isolated(self) -> bool:
        """Whether the hosts have namespaces."""
        return bool(self.namespaces)

    def close(self) -> None:
        """End the process that holds the namespaces."""
        if self.process is not None:
            self.process.stop(CLOSE_SECONDS)


def open_network(
    processes: ProcessTable, folder: Path, *, name: str, hosts: int, address: tuple[str, int] | None
) -> Network:
    """Make a network for each of `hosts`, out of which only the others and localaws's `address` (or None) are reached.

    Raises:
        NamespaceError: the kernel refuses.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    command = launch_command("job_network", {"address": address, "hosts": hosts})
    process = processes.spawn(command, name=name, env={"PATH": SYSTEM_PATH}, cwd=folder, on_line=lines.put)
    said: list[str] = []
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            said.append(lines.get(timeout=0.05))
            if said[-1].startswith("ready "):
                return Network(_namespaces(said[-1]), process, HOST_INTERFACE, 7777)
        if process.poll() is not None and lines.empty():
            break
    process.stop(0.0)
    raise NamespaceError(said[-1] if said else f"no network namespace within {READY_SECONDS:.0f} s")


def shared_network() -> Network:
    """Return the network of a job without namespaces: everybody's loopback, and a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Network((), None, "lo" if sys.platform == "linux" else "lo0", listener.getsockname()[1])


def _namespaces(ready: str) -> tuple[tuple[str, str], ...]:
    holder, *networks = ready.split()[1:]
    return tuple((f"/proc/{holder}/ns/user", f"/proc/{holder}/fd/{each}") for each in networks)
