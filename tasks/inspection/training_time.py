"""Estimates how long a training takes and what it costs, from the pace that the inspection measured."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.inspection.record import TrainingTime
from tasks.inspection.survey import Survey
from tasks.plan.costs import LEAST_SECONDS
from tasks.plan.plan import make_plan
from tasks.plan.wanted import Limits, Wanted
from tasks.run.machine import hardware
from tasks.run.options import TrainingOptions
from tasks.run.settings import Settings


def training_time(images: Mapping[str, int], looked: Survey, settings: Settings) -> TrainingTime | None:
    """Return the time of a training with the usual options; None when nothing was embedded. `images`: by split."""
    if not looked.pace:
        return None
    plan = make_plan(Wanted("inspection", TrainingOptions()), Limits(), None, settings)
    machines = next(each for each in plan.machines if each.purpose == "training")
    passes = images["train"] * looked.views + images["validation"] + images["test"]
    seconds = passes / looked.pace
    billed = max(LEAST_SECONDS, seconds)
    price = machines.usd_per_hour
    return TrainingTime(
        passes=passes,
        photos_per_second=looked.pace,
        hardware=hardware(),
        seconds=seconds,
        instance=machines.label,
        usd_per_hour=price,
        billed=LEAST_SECONDS,
        usd=None if price is None else price * billed / 3600,
    )
