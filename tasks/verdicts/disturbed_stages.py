"""Marks the stages and stretches of a profile's run in which the machine shaped what was seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.load.disturbance import NOT_OURS, WINDOW_SECONDS, Bounds, Look, between
from tasks.verdicts.seen import Disturbed, Seen


def generator_looks(content: Mapping[str, Any], began: float) -> list[Look]:
    """Return how late the load generator was in each second, from its `loadtest.json`; `began` is a Unix time."""
    rows = content["timeline"]
    return [Look(began + row["second"] + 1, 1.0, {"generator_late_ms": row["late_ms"]}) for row in rows]


def mark_disturbed(seen: Seen, looks: Sequence[Look], bounds: Bounds) -> Seen:
    """Return the run with the reasons for each stage that was disturbed, and the disturbed stretches."""
    of_stage = {stage.name: between(looks, seen.began + stage.begin, seen.began + stage.end) for stage in seen.stages}
    return replace(
        seen,
        disturbed=_told({name: _reasons(each, bounds, None) for name, each in of_stage.items()}),
        disturbed_by_others=_told({name: _reasons(each, bounds, NOT_OURS) for name, each in of_stage.items()}),
        stretches=tuple(_stretches(seen, looks, bounds)),
    )


def _reasons(looks: Sequence[Look], bounds: Bounds, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return what was above its bound; a stage in which the machine was not watched says nothing either."""
    if bounds.limits and not any("watch_late_ms" in look.values for look in looks):
        return ("the machine was not watched",)
    return bounds.exceeded(looks, names)


def _told(reasons: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: "; ".join(why) for name, why in reasons.items() if why}


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
