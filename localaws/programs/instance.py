"""Starts one instance: namespaces, disk, and then the instance's first process (`first_process.py`).

Config: `channel`, a descriptor for messages with the server; `user_namespace`, the descriptor of the user namespace
that the server's network belongs to, or None without namespaces; `plan`, the path of the file with everything else.
Touches the instance's folder and the processes that it started itself.
"""

import json
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localaws.programs import container, disk, namespaces
from localaws.programs.call_filter import call_filter
from localaws.programs.first_process import FirstProcess
from localaws.programs.messages import receive, send


def main(arguments: Sequence[str]) -> int:
    """Run the instance until it is powered off; return 0 then, else what went wrong."""
    config = json.loads(arguments[0])
    os.umask(0o022)  # a Linux of its own, as its image has it; the folder that holds its disk is closed
    plan = json.loads(Path(config["plan"]).read_text())
    channel = socket.socket(fileno=config["channel"])
    if config["user_namespace"] is None:
        return FirstProcess(plan, channel, is_alone=False).run()
    namespaces.enter(config["user_namespace"], namespaces.CLONE_NEWUSER)
    os.close(config["user_namespace"])
    if not _take_namespaces(plan, channel):
        return 1
    signal.signal(signal.SIGTERM, _leave_to_first_process)
    first = os.fork()
    if first == 0:
        os._exit(_run_first_process(plan, channel))
    channel.close()
    return namespaces.exit_status(os.waitpid(first, 0)[1])


def _take_namespaces(plan: dict[str, Any], channel: socket.socket) -> bool:
    """Unshare, and return whether the server has connected the network."""
    namespaces.unshare(namespaces.OF_A_MACHINE | namespaces.CLONE_NEWNET)
    socket.sethostname(plan["hostname"])
    with Path("/proc/self/ns/net").open() as network:
        send(channel, {"event": "network"}, [network.fileno()])
    return receive(channel) is not None


def _run_first_process(plan: dict[str, Any], channel: socket.socket) -> int:
    namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL)
    paths = {name: Path(plan[name]) for name in ("prefix", "base_prefix", "programs", "shims")}
    disk.enter(Path(plan["root"]), **paths)
    container.refuse_calls(call_filter())
    return FirstProcess(plan, channel, is_alone=True).run()


def _leave_to_first_process(*_: object) -> None:
    """The first process inside gets the signal as well: it has the same process group."""
