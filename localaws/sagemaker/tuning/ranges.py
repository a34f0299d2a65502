"""The ranges of hyperparameters, on the scale on which they are searched, and their values as a job gets them.

The API has all numbers as strings. Optuna draws on a linear or logarithmic scale itself; a reverse logarithmic range of
x is a logarithmic one of 1 - x. `Auto` is logarithmic where a range of positive numbers spans two orders of magnitude,
else linear. Source: https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html, which
does not say how `Auto` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

AUTO_LOGARITHMIC_RATIO = 100.0
Drawn = int | float | str


@dataclass(frozen=True)
class NumberRange:
    """Numbers from `low` to `high`, both of them included; `scaling` is none of `Auto`."""

    name: str
    low: float
    high: float
    is_integer: bool
    scaling: str

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.is_integer else float("inf")

    def distribution(self) -> BaseDistribution:
        """Return what Optuna draws from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_integer:
            return IntDistribution(int(self.low), int(self.high), log=self.scaling == "Logarithmic")
        if self.scaling == "ReverseLogarithmic":
            return FloatDistribution(1.0 - self.high, 1.0 - self.low, log=True)
        return FloatDistribution(self.low, self.high, log=self.scaling == "Logarithmic")

    def text_of(self, drawn: Drawn) -> str:
        """Return the hyperparameter's value for what Optuna drew."""
        if self.is_integer:
            return str(int(drawn))
        value = 1.0 - float(drawn) if self.scaling == "ReverseLogarithmic" else float(drawn)
        return repr(min(max(value, self.low), self.high))

    def drawn_of(self, text: str) -> Drawn | None:
        """Return what Optuna would have drawn for a value; None for one that the range does not have."""
        value = number_of(text)
        if value is None or not self.low <= value <= self.high or (self.is_integer and value != int(value)):
            return None
        if self.is_integer:
            return int(value)
        return 1.0 - value if self.scaling == "ReverseLogarithmic" else value


@dataclass(frozen=True)
class Choice:
    """Values without an order."""

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> float:
        """How many values there are."""
        return float(len(self.values))

    def distribution(self) -> BaseDistribution:
        """Return what Optuna draws from."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def text_of(self, drawn: Drawn) -> str:
        """Return the hyperparameter's value for what Optuna drew."""
        return str(drawn)

    def drawn_of(self, text: str) -> Drawn | None:
        """Return what Optuna would have drawn for a value; None for one that is none of the values."""
        return text if text in self.values else None


Range = NumberRange | Choice


def combinations(ranges: Sequence[Range]) -> float:
    """Return how many combinations of values there are; infinite with a range of real numbers."""
    product = 1.0
    for each in ranges:
        product *= each.size
    return product


def distributions_of(ranges: Sequence[Range]) -> dict[str, BaseDistribution]:
    """Return what Optuna draws each hyperparameter from."""
    return {each.name: each.distribution() for each in ranges}


def texts_of(ranges: Sequence[Range], drawn: Mapping[str, Any]) -> dict[str, str]:
    """Return the hyperparameters for what Optuna drew."""
    return {each.name: each.text_of(drawn[each.name]) for each in ranges}


def resolved_scaling(scaling: str, low: float, high: float) -> str:
    """Return the scale on which a range is searched: what `Auto` chooses, else what was asked for."""
    if scaling != "Auto":
        return scaling
    return "Logarithmic" if low > 0 and high / low >= AUTO_LOGARITHMIC_RATIO else "Linear"


def number_of(text: str) -> float | None:
    """Return the number that a text of the API is, None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None
