"""Values for the parameters of any operation, made from botocore's model: right ones, wrong ones and odd ones."""

from collections.abc import Iterator
from typing import Any

Shape = Any
READING = ("Describe", "Filter", "Get", "Head", "List", "Query", "Search")
"""How the names of operations begin that change nothing."""

DEEPEST = 4
_NUMBERS = ("integer", "long", "float", "double")


def right(shape: Shape, depth: int = 0) -> Any:
    """Return a value that a shape allows by its type, lengths and range; its pattern may not be met."""
    limits = shape.metadata
    if shape.type_name == "structure":
        return (
            {name: right(shape.members[name], depth + 1) for name in shape.required_members} if depth < DEEPEST else {}
        )
    if shape.type_name == "list":
        return [right(shape.member, depth + 1)] * max(1, limits.get("min", 1))
    if shape.type_name == "map":
        return {}
    if shape.type_name in _NUMBERS:
        return limits.get("min", 1)
    if shape.type_name == "string":
        return limits["enum"][0] if limits.get("enum") else "n" * max(limits.get("min", 1), 1)
    return {"boolean": True, "timestamp": 1_700_000_000, "blob": b"x"}[shape.type_name]


def others(shape: Shape, depth: int = 0) -> Iterator[Any]:
    """Yield values that break a constraint or that nothing in a fresh account answers to."""
    limits = shape.metadata
    if shape.type_name == "string":
        yield from ("blah", "", "x" * (min(limits.get("max", 300), 2047) + 1))
    elif shape.type_name in _NUMBERS:
        yield from (limits.get("min", 1) - 1, limits.get("max", 10**20) + 1)
    elif shape.type_name == "timestamp":
        yield 253_402_300_799
    elif shape.type_name == "list":
        yield []
        yield from ([each] for each in others(shape.member, depth + 1))
    elif shape.type_name == "structure":
        yield {}
        for name, member in shape.members.items() if depth < DEEPEST else ():
            yield from ({**right(shape), name: each} for each in others(member, depth + 1))


def requests_of(shape: Shape | None) -> Iterator[dict[str, Any]]:
    """Yield parameters of an operation: none, the required ones, and these with one more that is wrong or odd."""
    yield {}
    if shape is not None:
        base = right(shape)
        yield base
        for name, member in shape.members.items():
            yield from ({**base, name: each} for each in others(member))
