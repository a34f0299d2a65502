"""The queueing formulas behind scaling and concurrency numbers. Pure functions of rates and times.

Erlang B holds for any distribution of service times, Erlang C for exponential ones; arrivals are Poisson in both. The
simulation in `benchmarks.simulation.queue` is what these are tested against.
Source: Kleinrock, Queueing Systems, volume 1, chapter 3; Little's law: concurrency = rate × time in the system.
"""

from __future__ import annotations

import math

MOST_SERVERS = 10_000_000


def concurrency(rate_per_second: float, mean_seconds: float) -> float:
    """Return the mean number of requests in flight (Little's law, which Lambda's documentation uses too)."""
    return rate_per_second * mean_seconds


def erlang_b(servers: int, offered: float) -> float:
    """Return the share of arrivals that find all `servers` busy when nobody waits (they are lost, or go elsewhere).

    `offered` is rate × mean service time. With first-choice servers and an overflow group it is the share that spills
    over: whoever overflows does not come back.

    Raises:
        ValueError: `servers` or `offered` is negative.
    """
    if servers < 0 or offered < 0:
        raise ValueError(f"servers={servers}, offered={offered}: neither can be negative")
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Return the share of arrivals that have to wait for one of `servers`; 1.0 when they cannot keep up."""
    if offered >= servers:
        return 1.0
    blocked = erlang_b(servers, offered)
    return servers * blocked / (servers - offered * (1.0 - blocked))


def mean_wait_seconds(servers: int, rate_per_second: float, mean_seconds: float) -> float:
    """Return the mean time before service begins, exponential service times; infinite when they cannot keep up."""
    offered = concurrency(rate_per_second, mean_seconds)
    if offered >= servers:
        return math.inf
    return erlang_c(servers, offered) * mean_seconds / (servers - offered)


def servers_for(offered: float, most_blocked: float) -> int:
    """Return the fewest servers at which at most the share `most_blocked` of arrivals finds all of them busy.

    Raises:
        ValueError: `most_blocked` is not between 0 and 1 (0 has no finite answer), or `offered` is negative or too big.
    """
    if not 0.0 < most_blocked <= 1.0 or not 0.0 <= offered <= MOST_SERVERS / 2:
        raise ValueError(f"offered={offered}, most_blocked={most_blocked}: outside the range with a finite answer")
    servers, blocked = 0, 1.0
    while blocked > most_blocked:
        servers += 1
        blocked = offered * blocked / (servers + offered * blocked)
    return servers


def whole(value: float) -> int:
    """Round up to a whole number, forgiving the last digits of a float (3.0000000001 is 3)."""
    return math.ceil(value - 1e-9 * max(1.0, abs(value)))
