"""The network of one job's hosts: a user namespace, and in it a network namespace for each host.

A host has a loopback of its own and, as in SageMaker's containers, `eth0`, which leads to the job's other hosts and
nowhere else. Connections to localaws's own port on loopback are carried out of each host. Prints `ready PID FD...`:
the process that holds the namespaces until it is killed, and its descriptor of each host's network. Config: `hosts`,
their number, and `address`, localaws's own, or None for hosts that reach nothing outside. Touches nothing outside its
namespaces.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from localaws.programs import links, messages, namespaces
from localaws.programs.layout import HOST_INTERFACE, HOSTS_ROUTER, address_of_host
from localaws.programs.relay import Relay

BACKLOG = 256
CONNECT_SECONDS = 10.0
THIS_NETWORK = "/proc/self/ns/net"
SETTINGS = (("ip_forward", "1"), ("icmp_ratelimit", "0"))  # the second: every refusal is told, else it is a silence

Address = tuple[str, int]


def main(arguments: Sequence[str]) -> int:
    """Hold the namespaces until killed; return 1 if they are lost. Ends with the thread that started it."""
    namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL)
    config = json.loads(arguments[0])
    hosts = int(config["hosts"])
    address = (str(config["address"][0]), int(config["address"][1])) if config["address"] else None
    ours, theirs = messages.channel()
    parent = os.getpid()
    holder = os.fork()
    if holder == 0:
        ours.close()
        os._exit(_hold(theirs, hosts, address, parent))
    theirs.close()
    signal.signal(signal.SIGTERM, lambda *_: _end(holder))
    networks = [_receive_host(ours, address) for _ in range(hosts)]
    print("ready", holder, *networks, flush=True)
    os.waitpid(holder, 0)
    return 1


def _receive_host(channel: socket.socket, address: Address | None) -> int:
    """Carry the next host's connections; return the holder's descriptor of its network."""
    answer = messages.receive(channel)
    if answer is None:
        raise SystemExit("the job's network namespaces could not be made (see the line above)")
    message, listeners = answer
    if address:
        Relay(socket.socket(fileno=listeners[0]), lambda: socket.create_connection(address, CONNECT_SECONDS))
    return int(message["network"])


def _end(holder: int) -> None:
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    os._exit(0)


# --- inside -----------------------------------------------------------------------------------------------------------


def _hold(channel: socket.socket, hosts: int, address: Address | None, parent: int) -> int:
    try:
        namespaces.die_with(parent)
        namespaces.unshare_network()
        middle = _make_middle()
        for index in range(hosts):
            _make_host(index, middle, channel, address)
        channel.recv(1)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr, flush=True)
        return 1
    return 0


def _make_middle() -> int:
    """Set up the network that joins the hosts' networks, in which this process is; return its descriptor."""
    for name, value in SETTINGS:
        Path("/proc/sys/net/ipv4", name).write_text(value)
    links.give_address("lo", HOSTS_ROUTER)
    return os.open(THIS_NETWORK, os.O_RDONLY)


def _make_host(index: int, middle: int, channel: socket.socket, address: Address | None) -> None:
    """Make a host's network and connect it; send its descriptor, which stays open, and a listener in it."""
    own, outer = address_of_host(index), f"host{index}"
    namespaces.unshare(namespaces.CLONE_NEWNET)
    network = os.open(THIS_NETWORK, os.O_RDONLY)
    namespaces.bring_up("lo")
    links.connect(HOST_INTERFACE, outer, peer_namespace=middle)
    links.give_address(HOST_INTERFACE, own)
    listeners = [socket.create_server(address, backlog=BACKLOG)] if address else []
    namespaces.enter(middle)
    namespaces.bring_up(outer)
    links.route(outer, own)
    namespaces.enter(network)
    links.route(HOST_INTERFACE, HOSTS_ROUTER)
    links.route(HOST_INTERFACE, None, gateway=HOSTS_ROUTER)
    namespaces.enter(middle)
    messages.send(channel, {"network": network}, [each.fileno() for each in listeners])
    for each in listeners:
        each.close()
