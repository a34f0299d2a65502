"""Judge whether a run is valid, and whether the target failed. Pure.

A run is void when the generator was the bottleneck and not the target: it achieved less than 99 % of the intended rate,
its processor was more than 90 % busy, it ran out of connections, or its lag was a large part of the latencies. It is
void too when one of several generators is missing or began late, because the others sent only their part of the rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.percentiles import highest_allowed, value_ms
from loadtest.tally import Tally

MIN_ACHIEVED_SHARE = 0.99
MAX_CPU = 0.90
MAX_LAG_SHARE = 0.10
NEGLIGIBLE_LAG_MS = 25.0
"""A lag up to this never makes a run void, because the scheduler of a busy machine causes that much."""

MAX_LATE_START_SECONDS = 0.5
"""A generator that begins later than this after the agreed moment makes the run void."""

_TARGET_GONE_AFTER = 10
"""With this many connection failures in a row at the end of the run, the target counts as gone."""


@dataclass(frozen=True)
class Verdict:
    """The reasons why the run is void, and the reasons why the target failed; a good run has neither."""

    void: tuple[str, ...]
    failed: tuple[str, ...]


def achieved_rate(tally: Tally, seconds: float) -> float:
    """Return the requests sent per second, over the measured time or, if it was longer, the time it took to send them.

    That time is not extended by a last request that was sent late by a negligible lag.
    """
    return tally.sent / max(seconds, tally.last_send_seconds - NEGLIGIBLE_LAG_MS / 1000)


def judge(tally: Tally, seconds: float, processes: int = 1, *, missing: str = "") -> Verdict:
    """Judge the merged counts of `processes` generators over `seconds` of measured time.

    `missing` says which generators sent no result, "" if all did. Without them nothing is said of the target.

    Raises:
        ValueError: the counts contradict each other, which is a bug of the generator.
    """
    if tally.sent != tally.answered + tally.failed or tally.sent > tally.due:
        counts = f"due {tally.due}, sent {tally.sent}, answered {tally.answered}, failed {tally.failed}"
        raise ValueError(f"the counts contradict each other: {counts}")
    slow = [*_rate_reasons(tally, seconds), *_cpu_reasons(tally, processes), *_lag_reasons(tally)]
    if missing:
        return Verdict((missing, *slow), ())
    return Verdict((*_start_reasons(tally), *slow), tuple(_failures(tally)))


def _start_reasons(tally: Tally) -> list[str]:
    late = tally.late_start_seconds
    return [f"a generator began {late:.1f} s after the agreed moment"] if late > MAX_LATE_START_SECONDS else []


def _rate_reasons(tally: Tally, seconds: float) -> list[str]:
    reasons = []
    intended, achieved = tally.due / seconds, achieved_rate(tally, seconds)
    if achieved < MIN_ACHIEVED_SHARE * intended:
        share = achieved / intended
        reasons.append(
            f"the generator achieved {achieved:.1f}/s of {intended:.1f}/s intended ({share:.1%}, under 99 %)"
        )
    if tally.pool_exhausted:
        reasons.append(f"{tally.pool_exhausted} requests waited for a free connection: increase max_connections")
    return reasons


def _cpu_reasons(tally: Tally, processes: int) -> list[str]:
    if tally.busiest_cpu <= MAX_CPU:
        return []
    more = f"use more than {processes} process{'es' if processes > 1 else ''}"
    return [f"the generator's processor was {tally.busiest_cpu:.0%} busy (more than 90 %): {more}"]


def _lag_reasons(tally: Tally) -> list[str]:
    percentile = highest_allowed(tally.answered)
    if percentile is None:
        return []
    lag, latency = value_ms(tally.lag, percentile), value_ms(tally.latency, percentile)
    if lag <= max(NEGLIGIBLE_LAG_MS, MAX_LAG_SHARE * latency):
        return []
    return [f"requests started late: p{percentile:g} of the lag is {lag:.1f} ms, of the latency {latency:.1f} ms"]


def _failures(tally: Tally) -> list[str]:
    if tally.sent == 0:
        return ["no request was sent"]
    most = ", ".join(f"{count} x {code}" for code, count in tally.failures.most_common(3))
    if tally.answered == 0:
        return [f"none of {tally.sent} requests succeeded: {most}"]
    if tally.trailing_connection_failures >= _TARGET_GONE_AFTER:
        return [f"the target went away: the last {tally.trailing_connection_failures} requests found no connection"]
    return []
