"""Conditions of policy statements: every operator of AWS's, `...IfExists`, `ForAnyValue:` and `ForAllValues:`.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import contextlib
import ipaddress
import operator as compare
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from localaws.policies.context import Context
from localaws.policies.patterns import filled, matches_arn, matches_pattern, plain

Condition = Callable[[Context], bool]
Test = Callable[[str, str], bool]

_QUANTIFIERS = {"", "ForAnyValue", "ForAllValues"}


class UnknownOperator(ValueError):
    """A condition has an operator that IAM does not have; the message is its name."""


def condition(operator: str, key: str, wanted: list[Any], *, has_variables: bool) -> Condition:
    """Return what tells whether a request meets one condition.

    Raises:
        UnknownOperator: IAM has no such operator.
    """
    quantifier, _, name = operator.rpartition(":")
    bare, is_optional = name.removesuffix("IfExists"), name.endswith("IfExists")
    name_of_key, patterns = key.lower(), [_text(each) for each in wanted]
    if quantifier not in _QUANTIFIERS:
        raise UnknownOperator(operator)
    if bare == "Null":
        wanted_absent = {each.lower() for each in patterns}
        return lambda context: str(context.get(name_of_key) is None).lower() in wanted_absent
    is_negated, test = _test_of(bare, operator)
    is_true_without = is_optional or quantifier == "ForAllValues" or (is_negated and quantifier != "ForAnyValue")
    over = all if quantifier == "ForAllValues" or (is_negated and not quantifier) else any

    def is_met(context: Context) -> bool:
        values = context.get(name_of_key)
        if values is None:
            return is_true_without
        asked = [filled(each, context) for each in patterns] if has_variables else patterns
        return over(
            any(_holds(test, value, each) for each in asked if each is not None) != is_negated for value in values
        )

    return is_met


def _test_of(bare: str, operator: str) -> tuple[bool, Test]:
    if bare in _TESTS:
        return False, _TESTS[bare]
    positive = bare.replace("Not", "", 1)
    if "Not" in bare and positive in _NEGATABLE:
        return True, _TESTS[positive]
    raise UnknownOperator(operator)


def _holds(test: Test, value: str, wanted: str) -> bool:
    with contextlib.suppress(ValueError):  # what is no number, date or address meets no condition on one
        return test(value, wanted)
    return False


def _numbers(test: Callable[[float, float], bool]) -> Test:
    return lambda value, wanted: test(float(value), float(wanted))


def _dates(test: Callable[[float, float], bool]) -> Test:
    return lambda value, wanted: test(_moment(value), _moment(wanted))


def _moment(text: str) -> float:
    """Return the Unix time of an ISO 8601 date, or of a Unix time in seconds."""
    with contextlib.suppress(ValueError):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_in(value: str, wanted: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_TESTS: dict[str, Test] = {
    "StringEquals": lambda value, wanted: value == plain(wanted),
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == plain(wanted).lower(),
    "StringLike": lambda value, wanted: matches_pattern(wanted, value),
    "ArnEquals": lambda value, wanted: matches_arn(wanted, value),
    "ArnLike": lambda value, wanted: matches_arn(wanted, value),
    "Bool": lambda value, wanted: value.lower() == plain(wanted).lower(),
    "BinaryEquals": lambda value, wanted: value == plain(wanted),
    "IpAddress": _is_in,
    "NumericEquals": _numbers(compare.eq),
    "NumericLessThan": _numbers(compare.lt),
    "NumericLessThanEquals": _numbers(compare.le),
    "NumericGreaterThan": _numbers(compare.gt),
    "NumericGreaterThanEquals": _numbers(compare.ge),
    "DateEquals": _dates(compare.eq),
    "DateLessThan": _dates(compare.lt),
    "DateLessThanEquals": _dates(compare.le),
    "DateGreaterThan": _dates(compare.gt),
    "DateGreaterThanEquals": _dates(compare.ge),
}
_NEGATABLE = {
    *("StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"),
    *("IpAddress", "NumericEquals", "DateEquals"),
}
