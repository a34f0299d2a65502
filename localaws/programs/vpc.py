"""The network of one server's instances. Runs in network and user namespaces of its own.

Each instance's network namespace is connected by a pair of virtual interfaces, over which only packets from its own
address come. Packets between two instances are
refused ("No route to host") unless a rule lets them pass; nothing is routed anywhere else. Replies to what a rule lets
in are let out by their source port, because routing rules know no connections: for protocol -1 that is every reply.
"""

import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from localaws.programs.allowed_traffic import ALLOWED, MAIN, AllowedTraffic, Rule
from localaws.programs.layout import CALLER, METADATA, ROUTER
from localaws.programs.namespaces import inside_network

NETWORK = "172.31.0.0"
NETWORK_BITS = 16
OWN, OTHERS = 50, 60  # priorities of the rules for what comes from an instance, by its source
CUT = 1000  # priority of the routing rule that comes after those that let pass
SETTINGS = (
    ("ip_forward", "1"),
    ("conf/all/rp_filter", "0"),
    ("conf/default/rp_filter", "0"),
    ("icmp_ratelimit", "0"),  # every refusal is told: else the second one in a second is a silence of minutes
)
BACKLOG = 256


class Vpc:
    """The network that this process's namespace holds."""

    def __init__(self) -> None:
        self._netlink = IPRoute()
        self._rules: set[Rule] = set()
        loopback = self._netlink.link_lookup(ifname="lo")[0]
        self._netlink.link("set", index=loopback, state="up")
        for address in (ROUTER, CALLER):
            self._netlink.addr("add", index=loopback, address=address, prefixlen=32)
        for name, value in SETTINGS:
            Path("/proc/sys/net/ipv4", name).write_text(value)
        self._netlink.rule("add", priority=ALLOWED, src=ROUTER, table=MAIN)
        ends = {"src": NETWORK, "src_len": NETWORK_BITS, "dst": NETWORK, "dst_len": NETWORK_BITS}
        self._netlink.rule("add", priority=CUT, action="prohibit", **ends)

    def attach(self, namespace: int, private: str, listen: Iterable[tuple[str, int]]) -> list[socket.socket]:
        """Connect a network namespace as `private`; return listeners in it at the addresses `listen`.

        Raises:
            OSError, pyroute2.NetlinkError: the kernel refuses.
        """
        name = interface_name(private)
        peer = {"ifname": f"p{name}", "net_ns_fd": namespace}
        self._netlink.link("add", ifname=name, kind="veth", peer=peer)
        index = self._netlink.link_lookup(ifname=name)[0]
        self._forget_source(private)
        for rule in _source_rules(private):
            self._netlink.rule("add", **rule)
        with inside_network(namespace), contextlib.closing(IPRoute()) as inside:
            _configure(inside, f"p{name}", private)
            listeners = [_listen(address) for address in listen]
        self._netlink.link("set", index=index, state="up")
        self._netlink.route("add", dst=private, dst_len=32, oif=index, scope="link")
        return listeners

    def detach(self, private: str) -> None:
        """Disconnect an instance; nothing happens if its namespace has gone and its interfaces with it."""
        for index in self._netlink.link_lookup(ifname=interface_name(private)):
            with contextlib.suppress(Exception):  # it went between the question and the deletion
                self._netlink.link("del", index=index)
        self._forget_source(private)

    def _forget_source(self, private: str) -> None:
        for rule in _source_rules(private):
            with contextlib.suppress(NetlinkError):  # there is none
                self._netlink.rule("del", **rule)

    def let_pass(self, allowed: Iterable[AllowedTraffic]) -> None:
        """Let exactly these packets pass between instances."""
        wanted = {rule for traffic in allowed for rule in traffic.rules()}
        for rule in self._rules - wanted:
            self._netlink.rule("del", **dict(rule))
        for rule in wanted - self._rules:
            self._netlink.rule("add", **dict(rule))
        self._rules = wanted


def interface_name(private: str) -> str:
    """Return the name, at most 15 characters, of the interface that leads to an instance."""
    return "v" + private.removeprefix("172.31.").replace(".", "-")


def _source_rules(private: str) -> tuple[dict[str, Any], ...]:
    """Return the rules by which an instance's packets go on to the other rules, and no others come from its interface.

    The rules for addresses know only the network's, so that any other source would pass them.
    """
    interface = interface_name(private)
    return (
        {"priority": OWN, "iifname": interface, "src": private, "action": "goto", "goto": ALLOWED},
        {"priority": OTHERS, "iifname": interface, "action": "prohibit"},
    )


def _configure(inside: IPRoute, interface: str, private: str) -> None:
    """Set up an instance's interfaces: eth0 with its address and one route, the metadata address on loopback."""
    loopback, ethernet = inside.link_lookup(ifname="lo")[0], inside.link_lookup(ifname=interface)[0]
    inside.link("set", index=ethernet, ifname="eth0")
    for index, address in ((loopback, METADATA[0]), (ethernet, private)):
        inside.addr("add", index=index, address=address, prefixlen=32)
        inside.link("set", index=index, state="up")
    inside.route("add", dst=ROUTER, dst_len=32, oif=ethernet, scope="link")
    inside.route("add", dst="default", gateway=ROUTER, oif=ethernet)
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")


def _listen(address: tuple[str, int]) -> socket.socket:
    return socket.create_server(address, backlog=BACKLOG)
