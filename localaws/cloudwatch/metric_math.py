"""Metric math: arithmetic of metrics and numbers, and the functions that are used most.

A series is a mapping from the begin of a period to its value. Two series are combined where both have one. Source:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from moto.cloudwatch.exceptions import ValidationError

Series = Mapping[int, float]

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_OF_EACH: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_OF_MANY: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
FUNCTIONS = (*_OF_MANY, *_OF_EACH, "FILL", "METRICS", "PERIOD")


class Calculator:
    """Evaluates expressions over the results of other queries.

    `series` by the queries' ids; `periods`: theirs, in seconds; `span`: the begins of all periods that were asked for.
    """

    def __init__(self, series: Mapping[str, Series], periods: Mapping[str, int], span: range) -> None:
        self._series, self._periods, self._span = series, periods, span

    def series(self, expression: str) -> Series:
        """Return the series that an expression makes.

        Raises:
            ValidationError: it makes none, or localaws does not know a part of it, which the message names.
        """
        try:
            tree = ast.parse(expression.replace("^", "**").strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            raise ValidationError(f"Error in expression '{expression}': it cannot be read.") from None
        found = self._value(tree)
        if not isinstance(found, Mapping):
            raise ValidationError(f"Error in expression '{expression}': its result is no time series.")
        return found

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return float(node.value)
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.List):
            return [self._value(each) for each in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return _combined(operator.sub, 0.0, self._value(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _combined(_ARITHMETIC[type(node.op)], self._value(node.left), self._value(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._called(node.func.id, node.args)
        raise ValidationError(f"localaws does not calculate '{ast.unparse(node)}' in metric math.")

    def _named(self, name: str) -> Series:
        if name not in self._series:
            raise ValidationError(f"Error in expression: undefined id {name}.")
        return self._series[name]

    def _called(self, name: str, arguments: list[ast.expr]) -> Any:
        if name not in FUNCTIONS:
            raise ValidationError(f"localaws does not calculate {name} in metric math, only {', '.join(FUNCTIONS)}.")
        if name == "METRICS" and not arguments:
            return [self._series[each] for each in self._periods]  # expressions are not among them
        if name == "PERIOD" and len(arguments) == 1 and isinstance(arguments[0], ast.Name):
            return float(self._periods[arguments[0].id] if self._named(arguments[0].id) is not None else 0)
        given = [self._value(each) for each in arguments]
        if name in _OF_EACH and len(given) == 1 and isinstance(given[0], Mapping):
            return {begin: float(_OF_EACH[name](value)) for begin, value in given[0].items()}
        if name in _OF_MANY and len(given) == 1:
            return _over_many(_OF_MANY[name], given[0])
        if name == "FILL" and len(given) == 2 and isinstance(given[1], float):
            return {begin: given[0].get(begin, given[1]) for begin in self._span}
        raise ValidationError(f"localaws does not calculate {name} of these arguments in metric math.")


def _over_many(function: Callable[[list[float]], float], given: Any) -> Any:
    """Return a number for one series, and for several the series of what each period's values make."""
    if isinstance(given, Mapping):
        return function(list(given.values())) if given else 0.0
    begins = sorted({begin for each in given for begin in each})
    return {begin: function([each[begin] for each in given if begin in each]) for begin in begins}


def _combined(function: Callable[[float, float], float], left: Any, right: Any) -> Any:
    if isinstance(left, list) or isinstance(right, list):
        raise ValidationError(
            "localaws does not calculate with arrays of series in metric math, but in SUM, AVG, MIN, MAX."
        )
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        begins = [begin for begin in (left if isinstance(left, Mapping) else right) if _has(right, begin)]
        values = {begin: _safe(function, _at(left, begin), _at(right, begin)) for begin in begins}
        return {begin: value for begin, value in values.items() if value is not None}
    value = _safe(function, left, right)
    if value is None:
        raise ValidationError("Error in expression: it divides by zero.")
    return value


def _has(value: Any, begin: int) -> bool:
    return not isinstance(value, Mapping) or begin in value


def _at(value: Any, begin: int) -> float:
    return float(value[begin] if isinstance(value, Mapping) else value)


def _safe(function: Callable[[float, float], float], left: float, right: float) -> float | None:
    try:
        return function(left, right)
    except (ArithmeticError, ValueError):
        return None  # CloudWatch shows no data point there
