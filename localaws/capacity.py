"""Limits how much a hosting instance of a type serves at once, so that more instances are more capacity on one machine.

There is no limit unless a rule is set, by `--capacity` or at run time. A rule consists of the number of requests that
an instance serves at once and the least time that each takes, in real time.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass

EVERY_TYPE = "*"
RULE = re.compile(r"(?P<type>\*|ml\.[a-z0-9-]+\.[a-z0-9]+)(=(?P<concurrency>\d+)?(:(?P<floor>\d+(\.\d+)?)ms)?)?")
VCPUS_OF_XLARGE = 4
VCPUS_OF_SMALLER = {"medium": 1, "large": 2}
OTHER_VCPUS = {"ml.t2.medium": 2, "ml.c4.8xlarge": 36}


@dataclass(frozen=True)
class InstanceCapacity:
    """What one instance does: `concurrency` requests at once (None: as many as it has vCPUs), each `floor_ms` or more.

    Raises:
        ValueError: a value is out of its range.
    """

    concurrency: int | None = None
    floor_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.concurrency is not None and not 1 <= self.concurrency <= 10_000:
            raise ValueError(f"concurrency={self.concurrency}: must be 1 to 10000 requests at once")
        if not 0.0 <= self.floor_ms <= 60_000.0:
            raise ValueError(f"floor_ms={self.floor_ms}: must be 0 to 60000 real milliseconds a request")


@dataclass(frozen=True)
class Limit:
    """A rule with its numbers known."""

    concurrency: int
    floor_seconds: float


class CapacityTable:
    """The rules in force, by instance type; `*` stands for the types without one. Thread-safe."""

    def __init__(self, rules: Mapping[str, InstanceCapacity]) -> None:
        self._lock = threading.Lock()
        self._rules = dict(rules)

    @property
    def rules(self) -> dict[str, InstanceCapacity]:
        """A copy of the rules."""
        with self._lock:
            return dict(self._rules)

    def change(self, changes: Mapping[str, InstanceCapacity | None]) -> None:
        """Put rules in force, and drop those that are None."""
        with self._lock:
            changed = {**self._rules, **changes}
            self._rules = {name: rule for name, rule in changed.items() if rule is not None}

    def limit(self, instance_type: str) -> Limit | None:
        """Return what binds an instance of this type; None: nothing."""
        with self._lock:
            rule = self._rules.get(instance_type) or self._rules.get(EVERY_TYPE)
        return Limit(rule.concurrency or vcpus(instance_type), rule.floor_ms / 1000) if rule else None


def parse_rule(text: str) -> tuple[str, InstanceCapacity]:
    """Return the type and rule of `TYPE[=[CONCURRENCY][:FLOORms]]`, such as `ml.m5.large=2:50ms`, or `*` for any type.

    Raises:
        ValueError: it is not of this form, or a value is out of its range.
    """
    found = RULE.fullmatch(text)
    if found is None:
        raise ValueError(f"capacity={text!r}: must be TYPE[=[CONCURRENCY][:FLOORms]], such as ml.m5.large=2:50ms")
    concurrency = int(found["concurrency"]) if found["concurrency"] else None
    return found["type"], InstanceCapacity(concurrency, float(found["floor"] or 0.0))


def format_rule(instance_type: str, rule: InstanceCapacity) -> str:
    """Return the shortest text that `parse_rule` reads as this."""
    floor = f":{rule.floor_ms:g}ms" if rule.floor_ms else ""
    numbers = f"{rule.concurrency or ''}{floor}"
    return f"{instance_type}={numbers}" if numbers else instance_type


def vcpus(instance_type: str) -> int:
    """Return an instance type's number of vCPUs: 4 for each `xlarge`, 2 for `large`, 1 for `medium`, with exceptions.

    Source: aws.amazon.com/ec2/instance-types.
    """
    size = instance_type.rpartition(".")[2]
    number = size.removesuffix("xlarge")
    return OTHER_VCPUS.get(instance_type) or VCPUS_OF_SMALLER.get(size) or VCPUS_OF_XLARGE * int(number or 1)
