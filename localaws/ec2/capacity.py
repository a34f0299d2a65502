"""How many more instances may be started: any number until a test sets a limit, and never more than the quotas.

In a strict server some pools have none, until a test sets their limit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localaws.errors import AwsError
from localaws.quotas.account import Quotas, vcpu_quota
from localaws.strictness import LENIENT, Strictness

if TYPE_CHECKING:
    from localaws.ec2.instance import ExecutingInstance
    from localaws.ec2.launch_request import LaunchRequest

INSTANCE_QUOTA = 20  # running at once: each of them is a group of processes on this machine
MARKETS = ("on-demand", "spot")


@dataclass(frozen=True)
class Pool:
    """The instances of one type that one market has; `market` is "on-demand" or "spot"."""

    instance_type: str
    market: str


class Capacity:
    """The bounds of each pool, set by `POST /_localaws/capacity`, and the launches that are to fail."""

    def __init__(self, strictness: Strictness = LENIENT) -> None:
        self._strictness = strictness
        self._available: dict[Pool, int] = {}
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()

    def limit(self, pool: Pool, available: int | None) -> None:
        """Let `available` more instances of a pool be started, None for any number."""
        with self._lock:
            if available is None:
                self._available.pop(pool, None)
            else:
                self._available[pool] = available

    def fail_launches(self, instance_type: str, count: int) -> None:
        """Have the next `count` instances of a type end before they run."""
        with self._lock:
            self._failures[instance_type] = count

    def is_launch_to_fail(self, instance_type: str) -> bool:
        """Return whether an instance that is launched now is one of those, and count it."""
        with self._lock:
            left = self._failures.get(instance_type, 0)
            self._failures[instance_type] = max(left - 1, 0)
            return left > 0

    def take(self, pool: Pool, *, minimum: int, maximum: int, zone: str) -> int:
        """Take up to `maximum` instances out of a pool and return how many there were.

        Raises: AwsError InsufficientInstanceCapacity when there are fewer than `minimum`; nothing is taken then.
        """
        with self._lock:
            available = self._available.get(pool)
            if available is None and self._strictness.lacks_capacity(pool.instance_type, is_spot=pool.market == "spot"):
                raise insufficient(pool, zone)
            if available is None:
                return maximum
            if available < minimum:
                raise insufficient(pool, zone)
            taken = min(available, maximum)
            self._available[pool] = available - taken
            return taken


def check_quota(running: int, wanted: int) -> None:
    """Refuse more instances than the account may run.

    Raises: AwsError InstanceLimitExceeded.
    """
    if running + wanted > INSTANCE_QUOTA:
        raise AwsError(
            "InstanceLimitExceeded",
            f"You have requested more instances ({running + wanted}) than your current instance limit of "
            f"{INSTANCE_QUOTA} allows for the specified instance type.",
        )


def check_vcpus(quotas: Quotas, request: LaunchRequest, running: Iterable[ExecutingInstance]) -> None:
    """Refuse more vCPUs than the instances of the type's family may have in its market.

    Raises: AwsError VcpuLimitExceeded or MaxSpotInstanceCountExceeded.
    """
    asked = vcpu_quota(request.instance_type, is_spot=request.is_spot)
    kinds = [(each.instance_type, each.lifecycle == "spot") for each in running]
    same = [kind for kind, is_spot in kinds if vcpu_quota(kind, is_spot=is_spot) == asked]
    quotas.require_vcpus(
        request.instance_type,
        is_spot=request.is_spot,
        current=sum(_vcpus(kind) for kind in same),
        wanted=request.minimum * _vcpus(request.instance_type),
    )


def _vcpus(instance_type: str) -> int:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return int(INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"])


def insufficient(pool: Pool, zone: str) -> AwsError:
    """Return EC2's error for a pool that is empty; its HTTP status is 500, as on AWS."""
    text = (
        "There is no Spot capacity available that matches your request."
        if pool.market == "spot"
        else f"We currently do not have sufficient {pool.instance_type} capacity in the Availability Zone you "
        f"requested ({zone}). Our system will be working on provisioning additional capacity."
    )
    return AwsError("InsufficientInstanceCapacity", text, status=500)
