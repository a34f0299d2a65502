"""What a scaling plan is made of: choices, each with its formula, inputs, prediction and cost.

A plan is data: it can be shown, kept in a run's directory, changed on purpose (`ScalingPlan.with_value`) and compared
with what a load test sees (`Prediction.holds`). Nothing here computes a choice or calls AWS.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.run.errors import SettingsRefused
from tasks.run.records import Number
from tasks.scaling.traffic import Measured, Traffic

Source = Literal["measured", "chosen", "AWS document", "derived"]
Stage = Literal["baseline", "ramp", "peak", "spike", "return"]
"""When a prediction is observed; "ramp" begins with the rise above the baseline, "return" with the fall back to it."""

CHOICES = (
    "min_instances",
    "max_instances",
    "target_value",
    "scale_out_cooldown",
    "scale_in_cooldown",
    "function_memory",
    "reserved_concurrency",
    "provisioned_concurrency",
)
MOST_CHANCE = {"share": 0.3, "executions": 0.5}
"""A verdict says something only where chance moves it by less: three tenths of all requests, half of its bound."""
SIGMAS = 4.0
"""How many standard deviations of its sampling error an observation may lie outside the range."""


@dataclass(frozen=True)
class Input:
    """One number that went into a choice; `detail` names the run file, the AWS page or the reason."""

    name: str
    value: Number
    unit: str
    source: Source
    detail: str


@dataclass(frozen=True)
class Prediction:
    """What will be seen and how to see it. It holds when the observation lies within `low` and `high`.

    A `value` outside the range says that the plan is expected to miss it. Seconds are AWS's (wall seconds × the time
    scale), shares lie in [0, 1]. `noise` is the machine's own, in the prediction's unit: by so much what is timed here
    may lie outside the range.
    """

    name: str
    what: str
    value: Number
    unit: str
    low: Number
    high: Number
    stage: Stage
    observed_by: str
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the order of the bounds."""
        if not self.low <= self.high:
            raise ValueError(f"prediction {self.name}: {self.low} ≤ {self.high} does not hold")

    def holds(self, observed: float, *, samples: int | None = None) -> bool:
        """Tell whether an observation is within the range; one of `samples` requests may miss it by its chance."""
        return self.margin(observed, samples=samples) >= 0

    def margin(self, observed: float, *, samples: int | None = None) -> float:
        """Return how far within the nearer bound an observation is, in the prediction's unit; negative outside."""
        return inside(observed, self.low, self.high) + self.noise + self.chance(observed, samples)

    def too_few(self, observed: float, samples: int | None) -> bool:
        """Tell whether chance alone moves an observation of so few samples so far that it says nothing."""
        most = MOST_CHANCE.get(self.unit)
        edge = max(self.low, self.high) if self.unit == "executions" else 1.0
        return most is not None and self.chance(observed, samples) > most * edge

    def chance(self, observed: float, samples: int | None) -> float:
        """Return by how much an observation of `samples` requests may miss the bound for being random.

        Shares are binomial; executions in flight are in proportion to the requests that came, whose number is random.
        """
        is_near_low = self.low > 0.0 and observed - self.low < self.high - observed
        edge = self.low if is_near_low else self.high
        if samples and self.unit == "share":
            share = min(1.0, max(0.0, edge))
            return SIGMAS * math.sqrt(max(share * (1.0 - share), 1.0 / samples) / samples)
        if samples and self.unit == "executions":
            return SIGMAS * edge / math.sqrt(samples)
        return 0.0


def inside(observed: float, low: float, high: float) -> float:
    """Return the distance to the nearer bound, negative outside; nothing seen is negative, so a `low` of 0 is none."""
    return high - observed if low <= 0.0 <= observed else min(observed - low, high - observed)


@dataclass(frozen=True)
class Choice:
    """One configured number and all that speaks for it. `also` are further predictions that rest on it.

    `monthly_cost_usd` is what this choice adds to the bill, None where a price is unknown.
    """

    name: str
    value: Number
    unit: str
    formula: str
    inputs: tuple[Input, ...]
    predicted: Prediction
    monthly_cost_usd: float | None
    reason: str
    also: tuple[Prediction, ...] = ()

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """All predictions that rest on this choice, the first one first."""
        return (self.predicted, *self.also)


@dataclass(frozen=True)
class ScalingPlan:
    """Every scaling and concurrency number of a deployment, from one traffic statement and one set of measurements.

    `within_budget` is None where a price is unknown. `warnings` each end with what to change; `is_feasible` is False
    when the plan cannot keep the traffic statement's promises as it is.
    """

    choices: tuple[Choice, ...]
    traffic: Traffic
    measured: Measured
    monthly_cost_usd: float | None
    within_budget: bool | None
    warnings: tuple[str, ...]
    is_feasible: bool
    prices: str

    def choice(self, name: str) -> Choice:
        """Return a choice by its name, one of `CHOICES`.

        Raises:
            KeyError: the plan has no such choice.
        """
        for choice in self.choices:
            if choice.name == name:
                return choice
        raise KeyError(f"{name}: a plan has {', '.join(choice.name for choice in self.choices)}")

    def value(self, name: str) -> float:
        """Return a choice's value."""
        return self.choice(name).value

    def count(self, name: str) -> int:
        """Return the value of a choice that is a whole number."""
        return round(self.choice(name).value)

    @property
    def predictions(self) -> dict[str, tuple[Choice, Prediction]]:
        """Every prediction by its name, with the choice that it rests on."""
        return {name: (choice, each) for choice, name, each in self._predictions()}

    def with_value(self, name: str, value: float, why: str) -> ScalingPlan:
        """Return the plan with one number set by hand; the predictions stay, so that a load test judges the number.

        Raises:
            KeyError: the plan has no such choice.
            SettingsRefused: the value is not finite and at least 0.
        """
        if not (math.isfinite(value) and value >= 0):
            raise SettingsRefused(f"plan {name}", f"{value!r}", "it is finite and at least 0", "choose another value")
        derived = self.choice(name)
        was = Input("value by formula", derived.value, derived.unit, "derived", derived.formula)
        by_hand = dataclasses.replace(
            derived, value=value, formula="set by hand", inputs=(was, *derived.inputs), reason=why
        )
        choices = tuple(by_hand if choice.name == name else choice for choice in self.choices)
        warning = f"{name} was set to {value:g} by hand; the formula gives {derived.value:g}"
        return dataclasses.replace(self, choices=choices, warnings=(*self.warnings, warning))

    def markdown(self) -> str:
        """Return the plan as one table, with its cost, the time scale and the warnings."""
        return "\n".join([*self._head(), "", *_table(self.choices), *(f"\n> {text}" for text in self.warnings)]) + "\n"

    def _predictions(self) -> Iterator[tuple[Choice, str, Prediction]]:
        for choice in self.choices:
            for each in choice.predictions:
                yield choice, each.name, each

    def _head(self) -> list[str]:
        traffic, scale = self.traffic, self.measured.time_scale
        verdict = {None: "price unknown", True: "within", False: "OVER"}[self.within_budget]
        return [
            f"Traffic: {traffic.baseline_rps:g} → {traffic.peak_rps:g} requests/s in {traffic.ramp_seconds:g} s, spikes"
            f" of {traffic.spike_rps:g}; p95 ≤ {traffic.slo_p95_ms:g} ms, errors ≤ {traffic.max_error_rate:.2%},"
            f" throttles ≤ {traffic.max_throttle_rate:.2%}.",
            f"Cost: {_usd(self.monthly_cost_usd)} a month, {verdict} the budget of {_usd(traffic.monthly_budget_usd)}"
            f" ({self.prices}). Time scale {scale:g}: a minute of AWS's lasts {60 / scale:.2g} s here; seconds below"
            " are AWS's.",
        ]


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, shares in percent, no more digits than are worth reading."""
    if unit == "share":
        return f"{value:.2%}"
    digits = f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
    is_one = digits == "1" and unit in {"instances", "executions"}
    return f"{digits} {unit.removesuffix('s') if is_one else unit}".rstrip()


def _table(choices: tuple[Choice, ...]) -> list[str]:
    rows = [
        "| choice | value | formula | inputs | prediction | USD a month | reason |",
        "|---|---|---|---|---|---|---|",
    ]
    for choice in choices:
        inputs = "; ".join(f"{each.name} {amount(each.value, each.unit)} ({each.source})" for each in choice.inputs)
        predicted = "; ".join(_predicted(each) for each in choice.predictions)
        cells = (choice.name, amount(choice.value, choice.unit), choice.formula, inputs, predicted)
        cost = "?" if choice.monthly_cost_usd is None else f"{choice.monthly_cost_usd:.2f}"
        rows.append("| " + " | ".join(_cell(text) for text in (*cells, cost, choice.reason)) + " |")
    return rows


def _predicted(each: Prediction) -> str:
    low, high = amount(each.low, each.unit), amount(each.high, each.unit)
    return f"{each.what}: {amount(each.value, each.unit)} [{low} … {high}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f} USD"
