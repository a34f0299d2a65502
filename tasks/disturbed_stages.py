"""Marks the stages and stretches of a profile's run in which the machine shaped what was seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.disturbance import WINDOW_SECONDS, Bounds, Look, between
from tasks.profile_records import Disturbed, Seen


def generator_looks(content: Mapping[str, Any], began: float) -> list[Look]:
    """Return how late the load generator was in each second, from its `loadtest.json`; `began` is a Unix time."""
    rows = content["timeline"]
    return [Look(began + row["second"] + 1, 1.0, {"generator_late_ms": row["late_ms"]}) for row in rows]


def mark_disturbed(seen: Seen, looks: Sequence[Look], bounds: Bounds) -> Seen:
    """Return the run with the reasons for each stage that was disturbed, and the disturbed stretches."""
    reasons = {
        stage.name: _reasons(between(looks, seen.began + stage.begin, seen.began + stage.end), bounds)
        for stage in seen.stages
    }
    disturbed = {name: "; ".join(why) for name, why in reasons.items() if why}
    return replace(seen, disturbed=disturbed, stretches=tuple(_stretches(seen, looks, bounds)))


def _reasons(looks: Sequence[Look], bounds: Bounds) -> tuple[str, ...]:
    """Return what was above its bound; a stage in which the machine was not watched says nothing either."""
    if bounds.limits and not any("watch_late_ms" in look.values for look in looks):
        return ("the machine was not watched",)
    return bounds.exceeded(looks)


def _stretches(seen: Seen, looks: Sequence[Look], bounds: Bounds) -> Iterator[Disturbed]:
    """Yield the disturbed stretches, found in steps of half a window and joined."""
    step, open_ = WINDOW_SECONDS / 2, None
    end = max((stage.end for stage in seen.stages), default=0.0)
    for number in range(int(end / step) + 1):
        begin = number * step
        why = bounds.exceeded(between(looks, seen.began + begin, seen.began + begin + step))
        if why and open_ is not None and open_.end >= begin:
            open_ = replace(open_, end=min(end, begin + step))
        elif why:
            if open_ is not None:
                yield open_
            open_ = Disturbed(begin, min(end, begin + step), why[0])
    if open_ is not None:
        yield open_
