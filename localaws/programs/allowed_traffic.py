"""The packets that may pass between two instances, and the routing rules that allow them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ALLOWED = 100  # priority of routing rules: the lower number goes first
MAIN = 254  # the routing table
ANY_PORT = (0, 65535)
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "-1": 0}

Rule = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class AllowedTraffic:
    """Packets that may pass from one private address to another. `protocol` as in `Ingress`, ports inclusive."""

    source: str
    target: str
    protocol: str
    from_port: int
    to_port: int

    def rules(self) -> Iterator[Rule]:
        """Return the routing rules of the way there and of the way back."""
        number = PROTOCOLS[self.protocol]
        for source, target, side in ((self.source, self.target, "dport"), (self.target, self.source, "sport")):
            rule: dict[str, Any] = {"priority": ALLOWED, "src": source, "dst": target, "table": MAIN}
            if number:
                rule["ip_proto"] = number
            if number in (6, 17) and (self.from_port, self.to_port) != ANY_PORT:
                rule[f"{side}_range"] = f"{self.from_port}:{self.to_port}"
            yield tuple(sorted(rule.items()))
