"""The hyperparameters that a search may vary, and within which bounds.

A space is a JSON object by name: `{"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}, "batch_size":
{"choices": [128, 256]}}`. `scale` is `linear` unless it is given; a whole-numbered hyperparameter takes whole numbers.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from training.config import LIMITS, Limits
from training.failures import TrainingFailure

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SCALES = ("linear", "log")
Number = int | float


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, drawn evenly on a linear or a logarithmic scale."""

    low: Number
    high: Number
    scale: str = "linear"


@dataclass(frozen=True)
class Choices:
    """A few values without an order."""

    choices: tuple[Number, ...]


Space = Mapping[str, Range | Choices]

HEAD_SPACE: Space = {
    "learning_rate": Range(1e-4, 1e-2, "log"),
    "weight_decay": Range(1e-3, 1.0, "log"),
    "dropout": Range(0.0, 0.7),
    "label_smoothing": Range(0.0, 0.2),
    "head_width": Choices((64, 128, 256)),
    "batch_size": Choices((128, 256)),
}
"""Of a head on embeddings. Smaller batches cost several times as much: a step then takes less than its overhead. With
higher learning rates a fit is so unstable that its trial does not foretell it."""

FINETUNE_SPACE: Space = {
    "finetune_learning_rate": Range(1e-5, 1e-3, "log"),
    "weight_decay": Range(1e-3, 1.0, "log"),
    "label_smoothing": Range(0.0, 0.2),
}
"""Of the whole network."""


def parse_space(text: str) -> Space:
    """Read a space; as a program, this module prints it, or without one the default.

    Raises:
        TrainingFailure: it is no such JSON object, or names an unknown hyperparameter, or has a value out of bounds.
    """
    try:
        given = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise _refused("", f"is no JSON: {error}") from error
    if not isinstance(given, dict) or not given:
        raise _refused("", 'is no JSON object of the form {"learning_rate": {"low": 0.0001, "high": 0.01}}')
    return {name: _dimension(name, each) for name, each in given.items()}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _refused(name, "is given twice")
        found[name] = value
    return found


def space_json(space: Space) -> dict[str, Any]:
    """Return a space as the JSON object that `parse_space` reads."""
    return {name: asdict(dimension) for name, dimension in space.items()}


def _dimension(name: str, given: Any) -> Range | Choices:
    limits = LIMITS.get(name)
    if limits is None or name in _FIXED:
        raise _refused(name, f"cannot be searched; those that can are {', '.join(sorted(LIMITS.keys() - _FIXED))}")
    if isinstance(given, dict) and given.keys() == {"choices"} and isinstance(given["choices"], list):
        values = tuple(_number(name, limits, value) for value in given["choices"])
        if len(set(values)) == len(values) > 0:
            return Choices(values)
        raise _refused(name, "needs choices that differ")
    if isinstance(given, dict) and {"low", "high"} <= given.keys() <= {"low", "high", "scale"}:
        low, high = (_number(name, limits, given[end]) for end in ("low", "high"))
        found = Range(low, high, given.get("scale", "linear"))
        if found.low < found.high and found.scale in SCALES and (found.scale == "linear" or found.low > 0):
            return found
        raise _refused(name, "needs low < high, a scale that is linear or log, and for log a low above 0")
    raise _refused(name, 'is neither {"low": …, "high": …, "scale": …} nor {"choices": […]}')


def _number(name: str, limits: Limits, value: Any) -> Number:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not limits.low <= value <= limits.high:
        raise _refused(name, f"has {value!r}, which is not between {limits.low:g} and {limits.high:g}")
    if limits.kind is int and value != int(value):
        raise _refused(name, f"has {value!r}, and takes whole numbers")
    return limits.kind(value)


def _refused(name: str, why: str) -> TrainingFailure:
    return TrainingFailure(f"the search space{f': {name}' if name else ''} {why}")


_FIXED = frozenset({"views", "seed", "epochs", "finetune_epochs", "patience", "trials"})
"""What decides the cost of a trial or the pictures, and is the same in all trials."""


def holds(space: Space, values: Mapping[str, Number]) -> bool:
    """Tell whether a search of the space could draw these values."""
    return all(_is_in(dimension, values[name]) for name, dimension in space.items())


def _is_in(dimension: Range | Choices, value: Number) -> bool:
    if isinstance(dimension, Choices):
        return value in dimension.choices
    return dimension.low <= value <= dimension.high


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """Return the space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def one(dimension: Range | Choices) -> "BaseDistribution":
        if isinstance(dimension, Choices):
            return CategoricalDistribution(dimension.choices)
        is_log = dimension.scale == "log"
        if isinstance(dimension.low, int):
            return IntDistribution(dimension.low, int(dimension.high), log=is_log)
        return FloatDistribution(dimension.low, dimension.high, log=is_log)

    return {name: one(dimension) for name, dimension in space.items()}


if __name__ == "__main__":
    try:
        print(json.dumps(space_json(parse_space(sys.argv[1]) if sys.argv[1:] else HEAD_SPACE)))
    except TrainingFailure as failure:
        sys.exit(str(failure))
