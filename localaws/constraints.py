"""Checks requests against the constraints of botocore's model; the messages are AWS's."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from localaws.violations import violation

_SPACES = r" \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's Z, which has no control characters


def broken_constraints(service: str, shape_name: str, parameters: Mapping[str, Any]) -> str:
    """Return AWS's message for a request that breaks constraints of the shape, naming each value and its place.

    It is empty for one that breaks none. Numbers have to be numbers.
    """
    from moto.core.utils import get_service_model

    shape = get_service_model(service).shape_for(shape_name)
    errors = list(_constraint_errors(shape, parameters, ""))
    noun = "error" if len(errors) == 1 else "errors"
    return f"{len(errors)} validation {noun} detected: {'; '.join(errors)}" if errors else ""


def _constraint_errors(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what AWS says of values that break the model's constraints. `path`: where in the request `value` is."""
    if shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield violation(None, _join(path, name), "Member must not be null")
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _constraint_errors(member, value[name], _join(path, name))
    elif shape.type_name == "list":
        yield from _size_errors(shape, len(value), value, path)
        for number, item in enumerate(value, 1):
            yield from _constraint_errors(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        yield from _size_errors(shape, len(value), value, path)
        for key, item in value.items():
            yield from _constraint_errors(shape.key, key, path)
            yield from _constraint_errors(shape.value, item, f"{path}.{key}")
    else:
        yield from _scalar_errors(shape, value, path)


def _scalar_errors(shape: Any, value: Any, path: str) -> Iterator[str]:
    limits = shape.metadata
    if shape.type_name == "string":
        allowed, pattern = limits.get("enum"), limits.get("pattern")
        if allowed and value not in allowed:
            yield violation(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        yield from _size_errors(shape, len(value), value, path)
        if pattern and not _fits(pattern, value):
            yield violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    elif shape.type_name in ("integer", "long"):
        if value < limits.get("min", value):
            yield violation(value, path, f"Member must have value greater than or equal to {limits['min']}")
        if value > limits.get("max", value):
            yield violation(value, path, f"Member must have value less than or equal to {limits['max']}")


def _fits(pattern: str, value: str) -> bool:
    r"""Return whether a value fits one of the model's (Java) patterns; without Unicode classes, `\w` is ASCII's."""
    known = pattern.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\w").replace(r"\p{Z}", _SPACES)
    flags = re.DOTALL | (re.ASCII if known == pattern else 0)
    return re.fullmatch(known, value, flags) is not None


def _size_errors(shape: Any, size: int, value: Any, path: str) -> Iterator[str]:
    limits = shape.metadata
    if size < limits.get("min", 0):
        yield violation(value, path, f"Member must have length greater than or equal to {limits['min']}")
    if size > limits.get("max", size):
        yield violation(value, path, f"Member must have length less than or equal to {limits['max']}")


def _join(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member
