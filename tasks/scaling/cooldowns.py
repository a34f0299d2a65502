"""Computes the cooldowns of an endpoint's scaling policy, in seconds of AWS time.

Both are whole minutes, because the metric that the policy tracks has a period of a minute.
"""

from __future__ import annotations

from tasks.scaling.queueing import round_up
from tasks.scaling.rules import LONGEST_COOLDOWN_SECONDS, PERIOD_SECONDS


def scale_out(startup_seconds: float) -> int:
    """Return start-up plus one minute: by then the metric shows the effect of the added instances."""
    return _whole_minutes(startup_seconds + PERIOD_SECONDS)


def scale_in(startup_seconds: float, longest_decision_seconds: float) -> int:
    """Return the longest time that a scale-out takes, so that a wrong scale-in is undone before the next one.

    A scale-out takes at most two minutes until the metric is full, the decision, and the start of the instance.
    """
    return _whole_minutes(2 * PERIOD_SECONDS + longest_decision_seconds + startup_seconds)


def _whole_minutes(seconds: float) -> int:
    return min(LONGEST_COOLDOWN_SECONDS, round_up(seconds / PERIOD_SECONDS) * PERIOD_SECONDS)
