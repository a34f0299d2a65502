"""Parses the ways to name a function in a request: name, name:qualifier, partial ARN, ARN."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localaws.errors import AwsError
from localaws.violations import one_violation

_PATTERN = re.compile(
    r"(?:(?:arn:(?:aws[a-zA-Z-]*)?:lambda:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?P<account>\d{12}):function:|function:)?"
    r"(?P<name>[a-zA-Z0-9-_]{1,64})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]{1,128}))?"
)


@dataclass(frozen=True)
class FunctionName:
    """A function as a request names it; `qualifier` is a version, an alias or None."""

    name: str
    qualifier: str | None


def parse(given: str, qualifier: str | None) -> FunctionName:
    """Read a function name and the request's Qualifier.

    Raises: AwsError ValidationException for what is no function name; InvalidParameterValueException when the name
    brings a qualifier and the request another one.
    """
    match = _PATTERN.fullmatch(given)
    if match is None:
        raise AwsError(
            "ValidationException",
            one_violation(
                given,
                "functionName",
                "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"
                "([a-z]{2}((-gov)|(-iso(b?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)"
                "(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
            ),
        )
    derived = match["qualifier"]
    if derived is not None and qualifier is not None and derived != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    return FunctionName(match["name"], derived or qualifier)
