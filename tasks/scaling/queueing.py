"""Queueing formulas behind the scaling and concurrency numbers, as pure functions of rates and times.

Erlang B holds for any distribution of service times, Erlang C for exponential ones; arrivals are Poisson in both. The
formulas are tested against the simulation in `benchmarks.simulation.queue`.
Source: Kleinrock, Queueing Systems, volume 1, chapter 3; Little's law: concurrency = rate × time in the system.
"""

from __future__ import annotations

import math

MOST_SERVERS = 10_000_000


def concurrency(rate_per_second: float, mean_seconds: float) -> float:
    """Return the mean number of requests in flight (Little's law, which Lambda's documentation uses too)."""
    return rate_per_second * mean_seconds


def erlang_b(servers: int, offered: float) -> float:
    """Return the share of arrivals that find all `servers` busy when no arrival waits (it is lost or goes elsewhere).

    `offered` is rate × mean service time. For provisioned servers with an overflow group, the result is the share that
    spills over to that group.

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
    """Return the share of arrivals that have to wait for one of `servers`; 1.0 when the servers cannot keep up.

    Raises:
        ValueError: `offered` is negative.
    """
    if offered >= servers:
        return 1.0
    blocked = erlang_b(servers, offered)
    return servers * blocked / (servers - offered * (1.0 - blocked))


def mean_wait_seconds(servers: int, rate_per_second: float, mean_seconds: float) -> float:
    """Return the mean wait before service begins, for exponential service times; infinite when servers cannot keep up.

    Raises:
        ValueError: a rate or time is negative.
    """
    offered = concurrency(rate_per_second, mean_seconds)
    if offered >= servers:
        return math.inf
    return erlang_c(servers, offered) * mean_seconds / (servers - offered)


def servers_for(offered: float, most_blocked: float) -> int:
    """Return the smallest number of servers at which at most the share `most_blocked` of arrivals finds all busy.

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


def round_up(value: float) -> int:
    """Round up to a whole number, tolerating a float's rounding error (3.0000000001 becomes 3)."""
    return math.ceil(value - 1e-9 * max(1.0, abs(value)))
