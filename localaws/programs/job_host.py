"""Starts one host of a training or processing job as a container would.

With namespaces, it joins its network and adds mount, process, IPC and host-name namespaces of its own.
Its view of the disk is a container's (`container.py`), with the host's folder at /opt/ml, folders of its own for home
(in /opt/localaws) and temporary files (/tmp), and the job's names in /etc/hosts. When the command ends, so does
everything that it started.

SIGTERM reaches the processes of the command that handle it; if none does, the host ends at once. A process that does
not handle it is left running, as the first process of a container is. Touches nothing outside its namespaces.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from localaws.programs import container, namespaces
from localaws.programs.call_filter import call_filter
from localaws.programs.layout import HOST_NAME


def main(arguments: Sequence[str]) -> int:
    """Run the config's `command` in a host of its own; return its exit status, 128 + n when signal n ended it.

    Ends with the thread that started it, on Linux.
    """
    if sys.platform == "linux":
        namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL)
    config = json.loads(arguments[0]) | container.take_over()
    if config["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, config["cpus"])
    if config["network"] is None:
        return _supervise(config)
    _enter_namespaces(config)
    signal.signal(signal.SIGTERM, _forget_signal)
    first = os.fork()
    if first == 0:
        os._exit(_first_process(config))
    return namespaces.exit_status(os.waitpid(first, 0)[1])


def _forget_signal(*_: object) -> None:
    """The first process inside gets the signal as well: it has the same process group."""


def _enter_namespaces(config: dict[str, Any]) -> None:
    for path in config["network"]:  # its user namespace comes first
        with Path(path).open() as namespace:
            namespaces.enter(namespace.fileno())
    namespaces.unshare(namespaces.OF_A_MACHINE)
    socket.sethostname(HOST_NAME)
    container.carry_out(config["plan"])


def _first_process(config: dict[str, Any]) -> int:
    """Be process 1 of the host: when it ends, the kernel ends all others."""
    container.enter_process_table(config["guard"])
    return _supervise(config)


# --- both ways --------------------------------------------------------------------------------------------------------


def _supervise(config: dict[str, Any]) -> int:
    """Start the command in a session of its own, reap what it leaves, hand it SIGTERM; return its exit status."""
    if sys.platform == "linux":
        namespaces.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main_process = os.fork()
    if main_process == 0:
        _become(config)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on_termination(main_process))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while True:
        ended, status = os.wait()
        if ended == main_process:
            return namespaces.exit_status(status)


def _become(config: dict[str, Any]) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if config["network"] is not None:
            container.take_namespaces(0, 0, 0)
            container.refuse_calls(call_filter(nests=False))
    except OSError as error:
        print(error.strerror or error, file=sys.stderr, flush=True)
        os._exit(127)
    os._exit(container.become(config))


def _pass_on_termination(session: int) -> None:
    handling = [pid for pid in _session_members(session) if _handles_sigterm(pid)]
    if not handling:
        with contextlib.suppress(ProcessLookupError):
            os.kill(session, signal.SIGKILL)
    for pid in handling:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _session_members(session: int) -> Iterable[int]:
    if sys.platform != "linux":
        return [session]
    members = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 pathlib would cost a stat a process
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.getsid(int(entry)) == session:
                members.append(int(entry))
    return members


def _handles_sigterm(pid: int) -> bool:
    if sys.platform != "linux":
        return True
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False
