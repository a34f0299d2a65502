"""How many more instances may be started: any number until a test sets a limit, and never more than the quota."""

import threading
from dataclasses import dataclass

from localaws.errors import AwsError

INSTANCE_QUOTA = 20  # running at once: each of them is a group of processes on this machine
MARKETS = ("on-demand", "spot")


@dataclass(frozen=True)
class Pool:
    """The instances of one type that one market has; `market` is "on-demand" or "spot"."""

    instance_type: str
    market: str


class Capacity:
    """The bounds of each pool, set by `POST /_localaws/capacity`, and the launches that are to fail."""

    def __init__(self) -> None:
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


def insufficient(pool: Pool, zone: str) -> AwsError:
    """Return EC2's error for a pool that is empty; its HTTP status is 500, as on AWS."""
    text = (
        "There is no Spot capacity available that matches your request."
        if pool.market == "spot"
        else f"We currently do not have sufficient {pool.instance_type} capacity in the Availability Zone you "
        f"requested ({zone}). Our system will be working on provisioning additional capacity."
    )
    return AwsError("InsufficientInstanceCapacity", text, status=500)
