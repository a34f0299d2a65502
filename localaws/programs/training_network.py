"""The network that one training job's hosts share: a user and a network namespace, held until this process is killed.

Its loopback belongs to the job alone, so that two jobs may both use port 7777. Connections to localaws's own port are
carried out of it. Prints `ready PID`: the process whose namespaces the hosts join. Config: `address`, localaws's own,
or None for a network that reaches nothing outside. Touches nothing outside its namespaces.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence

from localaws.programs import namespaces
from localaws.programs.relay import Relay

BACKLOG = 256
CONNECT_SECONDS = 10.0

Address = tuple[str, int]


def main(arguments: Sequence[str]) -> int:
    """Hold the namespaces until killed; return 1 if they are lost. Ends with the thread that started it."""
    namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL)
    config = json.loads(arguments[0])
    address = (str(config["address"][0]), int(config["address"][1])) if config["address"] else None
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    holder = os.fork()
    if holder == 0:
        ours.close()
        os._exit(_hold(theirs, address, parent))
    theirs.close()
    signal.signal(signal.SIGTERM, lambda *_: _end(holder))
    listeners = _receive_listeners(ours)
    print(f"ready {holder}", flush=True)
    if address and listeners:
        Relay(socket.socket(fileno=listeners[0]), lambda: socket.create_connection(address, CONNECT_SECONDS))
    os.waitpid(holder, 0)
    return 1


def _end(holder: int) -> None:
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    os._exit(0)


def _hold(channel: socket.socket, address: Address | None, parent: int) -> int:
    try:
        namespaces.die_with(parent)
        namespaces.unshare_network()
        namespaces.bring_up("lo")
        listeners = [socket.create_server(address, backlog=BACKLOG)] if address else []
        socket.send_fds(channel, [b"r"], [each.fileno() for each in listeners])
        for each in listeners:
            each.close()
        channel.recv(1)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr, flush=True)
        return 1
    return 0


def _receive_listeners(channel: socket.socket) -> list[int]:
    message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not message:
        raise SystemExit("the job's network namespace could not be made (see the line above)")
    return descriptors
