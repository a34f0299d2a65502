"""Marks the stages and intervals of a profile's run in which the machine disturbed the measurement. It is pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.load.disturbance import EXTERNAL_SIGNALS, WINDOW_SECONDS, Bounds, MachineSample, samples_between
from tasks.verdicts.profile_observation import DisturbedInterval, ProfileObservation


def generator_samples(content: Mapping[str, Any], began: float) -> list[MachineSample]:
    """Return the load generator's lateness in each second, from its `loadtest.json`. `began` is a Unix time."""
    rows = content["timeline"]
    return [MachineSample(began + row["second"] + 1, 1.0, {"generator_late_ms": row["late_ms"]}) for row in rows]


def mark_disturbed(
    observation: ProfileObservation, samples: Sequence[MachineSample], bounds: Bounds
) -> ProfileObservation:
    """Return the observation with the reasons for each disturbed stage, and with the disturbed intervals."""
    of_stage = {
        stage.name: samples_between(samples, observation.began + stage.begin, observation.began + stage.end)
        for stage in observation.stages
    }
    return replace(
        observation,
        disturbed=_told({name: _reasons(each, bounds, None) for name, each in of_stage.items()}),
        disturbed_by_others=_told({name: _reasons(each, bounds, EXTERNAL_SIGNALS) for name, each in of_stage.items()}),
        stretches=tuple(_stretches(observation, samples, bounds)),
    )


def _reasons(samples: Sequence[MachineSample], bounds: Bounds, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the signals above their bounds. A stage without samples of the machine counts as disturbed too."""
    if bounds.limits and not any("watch_late_ms" in sample.values for sample in samples):
        return ("the machine was not monitored",)
    return bounds.exceeded(samples, names)


def _told(reasons: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: "; ".join(why) for name, why in reasons.items() if why}


def _stretches(
    observation: ProfileObservation, samples: Sequence[MachineSample], bounds: Bounds
) -> Iterator[DisturbedInterval]:
    """Yield the disturbed intervals, found in steps of half a window; adjacent ones are joined."""
    step, open_ = WINDOW_SECONDS / 2, None
    end = max((stage.end for stage in observation.stages), default=0.0)
    for number in range(int(end / step) + 1):
        begin = number * step
        why = bounds.exceeded(samples_between(samples, observation.began + begin, observation.began + begin + step))
        if why and open_ is not None and open_.end >= begin:
            open_ = replace(open_, end=min(end, begin + step))
        elif why:
            if open_ is not None:
                yield open_
            open_ = DisturbedInterval(begin, min(end, begin + step), why[0])
    if open_ is not None:
        yield open_
