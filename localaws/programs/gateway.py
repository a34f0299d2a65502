"""The gateway of a server's instances: holds their network and carries connections into and out of it.

There are two processes. The outer one listens at the instances' public addresses and carries those connections into the
network; it also carries connections from instances to localaws's own address out of it. The inner one holds the
network's namespaces (`vpc.py`) and makes sockets for the outer one. Without namespaces there is only the outer one.

The server sends orders over the descriptor `control`; the gateway ends when the server closes it or is gone.
"""

import json
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localaws.programs import namespaces
from localaws.programs.allowed_traffic import AllowedTraffic
from localaws.programs.layout import CALLER, METADATA
from localaws.programs.messages import channel, close_all, receive, send
from localaws.programs.relay import Relay

BACKLOG = 128
CONNECT_SECONDS = 10.0

Address = tuple[str, int]


def main(arguments: Sequence[str]) -> int:
    """Serve the orders of the server; return the exit status."""
    config = json.loads(arguments[0])
    control = socket.socket(fileno=config["control"])
    inside = _start_inside() if config["namespaces"] else None
    if inside is None:
        send(control, {})
        gateway = Gateway(None)
    else:
        answer = receive(inside)
        message, descriptors = answer or ({"error": "the process that holds the network ended"}, [])
        send(control, message, descriptors)
        close_all(descriptors)
        gateway = Gateway(inside)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the server's to handle
    while order := receive(control):
        send(control, *gateway.obey(*order))
    return 0


# --- outside ----------------------------------------------------------------------------------------------------------


class Gateway:
    """Carries connections as it is told."""

    def __init__(self, inside: socket.socket | None) -> None:
        self._inside = inside
        self._lock = threading.Lock()
        self._doors: dict[Address, Relay] = {}
        self._exits: dict[str, Relay] = {}

    def obey(self, order: dict[str, Any], descriptors: list[int]) -> tuple[dict[str, Any], list[int]]:
        """Carry out one order; return the answer, whose `error` says why it was not, and descriptors."""
        try:
            return {}, getattr(self, f"_{order.pop('do')}")(descriptors=descriptors, **order) or []
        except OSError as error:
            return {"error": str(error)}, []
        finally:
            close_all(descriptors)

    def _attach(self, *, private: str, localaws: list[Any], descriptors: list[int]) -> list[int]:
        way_out = (str(localaws[0]), int(localaws[1]))
        order = {"do": "attach", "private": private, "listen": [way_out, METADATA]}
        exit_listener, metadata_listener = self._ask(order, descriptors)
        self._exits[private] = Relay(
            socket.socket(fileno=exit_listener), lambda: socket.create_connection(way_out, CONNECT_SECONDS)
        )
        return [metadata_listener]

    def _detach(self, *, private: str, descriptors: list[int]) -> None:  # noqa: ARG002
        if relay := self._exits.pop(private, None):
            relay.close(cut=True)
        self._ask({"do": "detach", "private": private})

    def _let_pass(self, *, allowed: list[Any], descriptors: list[int]) -> None:  # noqa: ARG002
        self._ask({"do": "let_pass", "allowed": allowed})

    def _open(self, *, public: list[Any], target: list[Any], descriptors: list[int]) -> None:  # noqa: ARG002
        address = (str(public[0]), int(public[1]))
        if address not in self._doors:
            listener = socket.create_server(address, backlog=BACKLOG)
            self._doors[address] = Relay(listener, lambda: self._connect((str(target[0]), int(target[1]))))

    def _close(self, *, public: list[Any], cut: bool, descriptors: list[int]) -> None:  # noqa: ARG002
        if relay := self._doors.pop((str(public[0]), int(public[1])), None):
            relay.close(cut=cut)

    def _connect(self, target: Address) -> socket.socket:
        if self._inside is None:
            return socket.create_connection(target, CONNECT_SECONDS)
        (descriptor,) = self._ask({"do": "socket"})
        connection = socket.socket(fileno=descriptor)
        connection.settimeout(CONNECT_SECONDS)
        connection.bind((CALLER, 0))
        connection.connect(target)
        return connection

    def _ask(self, order: dict[str, Any], descriptors: Sequence[int] = ()) -> list[int]:
        if self._inside is None:
            return []
        with self._lock:
            send(self._inside, order, descriptors)
            answer = receive(self._inside)
        if answer is None:
            raise OSError("the process that holds the network has ended")
        if "error" in answer[0]:
            raise OSError(answer[0]["error"])
        return answer[1]


# --- inside -----------------------------------------------------------------------------------------------------------


def _start_inside() -> socket.socket:
    ours, theirs = channel()
    parent = os.getpid()
    if os.fork() == 0:
        ours.close()
        os._exit(_hold(theirs, parent))
    theirs.close()
    return ours


def _hold(orders: socket.socket, parent: int) -> int:
    try:
        namespaces.die_with(parent)
        namespaces.unshare_network()
        from localaws.programs.vpc import Vpc  # 0.2 s of imports, which the process outside does without

        vpc = Vpc()
        with Path("/proc/self/ns/user").open() as owner:
            send(orders, {}, [owner.fileno()])
    except Exception as error:  # noqa: BLE001 told to the server, which decides what to do without
        send(orders, {"error": str(error)})
        return 1
    while order := receive(orders):
        _answer(vpc, orders, *order)
    return 0


def _answer(vpc: Any, orders: socket.socket, order: dict[str, Any], descriptors: list[int]) -> None:
    sockets: list[socket.socket] = []
    try:
        sockets = _carry_out(vpc, order, descriptors)
        send(orders, {}, [each.fileno() for each in sockets])
    except Exception as error:  # noqa: BLE001 pyroute2's errors are no OSErrors; the gateway must have its answer
        send(orders, {"error": f"{order['do']}: {error}"})
    finally:
        close_all(descriptors)
        for each in sockets:
            each.close()


def _carry_out(vpc: Any, order: dict[str, Any], descriptors: list[int]) -> list[socket.socket]:
    if order["do"] == "socket":
        return [socket.socket()]
    if order["do"] == "attach":
        listen = [(str(host), int(port)) for host, port in order["listen"]]
        listeners: list[socket.socket] = vpc.attach(descriptors[0], order["private"], listen)
        return listeners
    if order["do"] == "detach":
        vpc.detach(order["private"])
    else:
        vpc.let_pass([AllowedTraffic(*each) for each in order["allowed"]])
    return []
