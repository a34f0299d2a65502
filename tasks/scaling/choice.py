"""Defines the scaling plan: its choices, each with formula, inputs, predictions and monthly cost.

A plan is plain data. It can be printed, saved in a run's directory, overridden (`ScalingPlan.with_value`) and compared
with a load test (`Prediction.holds`). This module neither computes a choice nor calls AWS.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from tasks.run.errors import SettingsRefused
from tasks.run.escaping import markdown_table, markdown_text
from tasks.run.records import Number
from tasks.scaling.traffic import Figure, Measured, Traffic

Source = Literal["measured", "chosen", "AWS document", "derived"]
Stage = Literal["baseline", "ramp", "peak", "spike", "return"]
"""The stage of the load profile in which a prediction is observed.

"ramp" begins when the rate rises above the baseline; "return" begins when it falls back to the baseline.
"""

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
MAX_SAMPLING_ERROR = {"share": 0.3, "executions": 0.5}
"""The largest sampling error, by unit, at which a verdict is still given: a share of all requests, a share of the
bound."""
SIGMAS = 4.0
"""An observation may lie outside the predicted range by this many standard deviations of its sampling error."""


@dataclass(frozen=True)
class Input:
    """A number that a choice was computed from. `detail` names the run file, the AWS page or the reason."""

    name: str
    value: Number
    unit: str
    source: Source
    detail: str

    @classmethod
    def measured(cls, name: str, figure: Figure, unit: str) -> Self:
        """Return an input that was measured, with the number of samples behind it."""
        return cls(name, figure.value, unit, "measured", f"n={figure.n}, {figure.source}")

    @classmethod
    def chosen(cls, name: str, value: Number, unit: str, detail: str) -> Self:
        """Return an input that a person chose."""
        return cls(name, value, unit, "chosen", detail)

    @classmethod
    def documented(cls, name: str, value: Number, unit: str, detail: str) -> Self:
        """Return an input that an AWS page states."""
        return cls(name, value, unit, "AWS document", detail)

    @classmethod
    def derived(cls, name: str, value: Number, unit: str, detail: str) -> Self:
        """Return an input that was computed from other inputs."""
        return cls(name, value, unit, "derived", detail)


@dataclass(frozen=True)
class Prediction:
    """What a load test should observe, and how. It holds when the observation lies between `low` and `high`.

    A `value` outside that range means that the plan is expected to miss the target. Seconds are AWS's (wall seconds ×
    the time scale); shares lie in [0, 1]. `noise` is this machine's timing error in the prediction's unit: a timed
    observation may lie outside the range by that much.
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
        """Check that the bounds are in order."""
        if not self.low <= self.high:
            raise ValueError(f"prediction {self.name}: {self.low} ≤ {self.high} does not hold")

    def holds(self, observed: float, *, samples: int | None = None) -> bool:
        """Tell whether an observation is in the range, its sampling error over `samples` requests allowed for."""
        return self.margin(observed, samples=samples) >= 0

    def margin(self, observed: float, *, samples: int | None = None) -> float:
        """Return how far inside the nearer bound an observation lies, in the prediction's unit; negative if outside."""
        return margin_within(observed, self.low, self.high) + self.noise + self.sampling_error(observed, samples)

    def has_too_few_samples(self, observed: float, samples: int | None) -> bool:
        """Tell whether the sampling error of so few samples is too large for a verdict."""
        most = MAX_SAMPLING_ERROR.get(self.unit)
        edge = max(self.low, self.high) if self.unit == "executions" else 1.0
        return most is not None and self.sampling_error(observed, samples) > most * edge

    def sampling_error(self, observed: float, samples: int | None) -> float:
        """Return how far random sampling alone may put an observation of `samples` requests outside the bound.

        Shares are binomial. Executions in flight are proportional to the number of arrivals, which is Poisson.
        """
        is_near_low = self.low > 0.0 and observed - self.low < self.high - observed
        edge = self.low if is_near_low else self.high
        if samples and self.unit == "share":
            share = min(1.0, max(0.0, edge))
            return SIGMAS * math.sqrt(max(share * (1.0 - share), 1.0 / samples) / samples)
        if samples and self.unit == "executions":
            return SIGMAS * edge / math.sqrt(samples)
        return 0.0


def margin_within(observed: float, low: float, high: float) -> float:
    """Return the distance to the nearer bound, negative outside. No observed quantity is negative, so a `low` of 0 does
    not count as a bound."""
    return high - observed if low <= 0.0 <= observed else min(observed - low, high - observed)


@dataclass(frozen=True)
class Choice:
    """One configured number with its justification. `also` holds the further predictions that depend on it.

    `monthly_cost_usd` is what this choice adds to the bill; it is None where a price is unknown.
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
        """All predictions that depend on this choice, the main one first."""
        return (self.predicted, *self.also)


@dataclass(frozen=True)
class ScalingPlan:
    """Every scaling and concurrency number of a deployment, from one traffic statement and one set of measurements.

    `within_budget` is None where a price is unknown. Each warning ends with what to change. `is_feasible` is False when
    the plan cannot keep the limits of the traffic statement.
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
        raise KeyError(f"the plan has no {name}; it has {', '.join(choice.name for choice in self.choices)}")

    def value(self, name: str) -> float:
        """Return a choice's value.

        Raises:
            KeyError: the plan has no such choice.
        """
        return self.choice(name).value

    def count(self, name: str) -> int:
        """Return the value of a choice that is a whole number.

        Raises:
            KeyError: the plan has no such choice.
        """
        return round(self.choice(name).value)

    @property
    def predictions(self) -> dict[str, tuple[Choice, Prediction]]:
        """Every prediction by its name, with the choice that it depends on."""
        return {name: (choice, each) for choice, name, each in self._predictions()}

    def with_value(self, name: str, value: float, why: str) -> ScalingPlan:
        """Return the plan with one number set by hand. Its predictions stay, so that a load test judges the new number.

        Raises:
            KeyError: the plan has no such choice.
            SettingsRefused: the value is not finite and at least 0.
        """
        if not (math.isfinite(value) and value >= 0):
            why = "a plan's number has to be finite and at least 0"
            raise SettingsRefused(f"plan {name}", f"{value!r}", why, "choose another value")
        derived = self.choice(name)
        was = Input.derived("value by formula", derived.value, derived.unit, derived.formula)
        by_hand = dataclasses.replace(
            derived, value=value, formula="set by hand", inputs=(was, *derived.inputs), reason=why
        )
        choices = tuple(by_hand if choice.name == name else choice for choice in self.choices)
        warning = f"{name} was set to {value:g} by hand; the formula gives {derived.value:g}"
        return dataclasses.replace(self, choices=choices, warnings=(*self.warnings, warning))

    def markdown(self) -> str:
        """Return the plan as Markdown: its traffic and cost, a table of the choices, and the warnings."""
        warnings = (f"\n> {markdown_text(text)}" for text in self.warnings)
        return "\n".join([*self._head(), "", *_table(self.choices), *warnings]) + "\n"

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
            f" ({markdown_text(self.prices)}). Time scale {scale:g}: a minute of AWS time lasts {60 / scale:.2g} s"
            " here. The seconds below are AWS time.",
        ]


def format_amount(value: float, unit: str) -> str:
    """Return a value with its unit, rounded for reading; a share is shown in percent."""
    if unit == "share":
        return f"{value:.2%}"
    digits = f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
    is_one = digits == "1" and unit in {"instances", "executions"}
    return f"{digits} {unit.removesuffix('s') if is_one else unit}".rstrip()


def _table(choices: tuple[Choice, ...]) -> list[str]:
    rows = []
    for choice in choices:
        inputs = "; ".join(
            f"{each.name} {format_amount(each.value, each.unit)} ({each.source})" for each in choice.inputs
        )
        predicted = "; ".join(_predicted(each) for each in choice.predictions)
        cells = (choice.name, format_amount(choice.value, choice.unit), choice.formula, inputs, predicted)
        cost = "unknown" if choice.monthly_cost_usd is None else f"{choice.monthly_cost_usd:.2f}"
        rows.append([markdown_text(text) for text in (*cells, cost, choice.reason)])
    return markdown_table(("choice", "value", "formula", "inputs", "prediction", "USD a month", "reason"), rows)


def _predicted(each: Prediction) -> str:
    low, high = format_amount(each.low, each.unit), format_amount(each.high, each.unit)
    return f"{each.what}: {format_amount(each.value, each.unit)} [{low} … {high}]"


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f} USD"
