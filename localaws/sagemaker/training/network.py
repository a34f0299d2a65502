"""The network of a training job's hosts: a namespace where the kernel gives one, else this machine's loopback."""

import contextlib
import queue
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from localaws.errors import LocalAwsError
from localaws.processes import Process, ProcessTable
from localaws.programs import launch_command

READY_SECONDS = 10.0
CLOSE_SECONDS = 2.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NamespaceError(LocalAwsError):
    """The kernel does not give what a host of its own needs; the message says what it refused."""


@dataclass(frozen=True)
class Network:
    """What a job's hosts share. `pid` is None where there are no namespaces; `master_port` stands for 7777 there."""

    pid: int | None
    process: Process | None
    master_port: int

    def close(self) -> None:
        """End the process that holds the namespaces."""
        if self.process is not None:
            self.process.stop(CLOSE_SECONDS)


def open_network(processes: ProcessTable, folder: Path, *, name: str, address: tuple[str, int] | None) -> Network:
    """Make a network namespace out of which only localaws's own `address` is reached (None: nothing is).

    Raises:
        NamespaceError: the kernel refuses.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    command = launch_command("training_network", {"address": address})
    process = processes.spawn(command, name=name, env={"PATH": SYSTEM_PATH}, cwd=folder, on_line=lines.put)
    said: list[str] = []
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            said.append(lines.get(timeout=0.05))
            if said[-1].startswith("ready "):
                return Network(int(said[-1].split()[1]), process, 7777)
        if process.poll() is not None and lines.empty():
            break
    process.stop(0.0)
    raise NamespaceError(said[-1] if said else f"no network namespace within {READY_SECONDS:.0f} s")


def shared_network() -> Network:
    """Return the network of a job without namespaces: everybody's loopback, and a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Network(None, None, listener.getsockname()[1])
