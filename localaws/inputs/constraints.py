"""Checks a request against the constraints of botocore's model: what is required, enumerations, patterns, sizes.

The sentences are AWS's. A list or map of plain values is one value to the services that speak JSON, which tell all
constraints of its members: "Value '[x]' at 'architectures' failed to satisfy constraint: Member must satisfy
constraint: [Member must satisfy enum value set: [x86_64, arm64]]"; the others tell the member that is wrong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localaws.inputs.java_patterns import compiled
from localaws.timed_regex import TimedRegex, TooSlow
from localaws.violations import secret_violation, violation

_COLLECTIONS = ("structure", "list", "map")
_NUMBERS = ("integer", "long", "float", "double")


@dataclass(frozen=True)
class Style:
    """How a service tells violations.

    `is_collective`: those of a collection's plain members are one; `tells_null`: members are also told not to be null
    there; `unchecked`: members at the top, whose values the service checks in words of its own.
    """

    is_collective: bool = True
    tells_null: bool = False
    unchecked: tuple[str, ...] = ()


def violations_in(shape: Any, parameters: Mapping[str, Any], style: Style) -> list[str]:
    """Return AWS's words for every constraint that the parameters of a request break, in the model's order."""
    return list(_in_structure(shape, parameters, "", style))


def _in_structure(shape: Any, value: Mapping[str, Any], path: str, style: Style) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None and (path or name not in style.unchecked):
            yield violation(None, _join(path, name), "Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None and (path or name not in style.unchecked):
            yield from _in_value(member, value[name], _join(path, name), style)


def _in_value(shape: Any, value: Any, path: str, style: Style) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    if shape.type_name == "structure":
        yield from _in_structure(shape, value, path, style)
    elif shape.type_name == "list":
        yield from _broken_rules(shape, value, path)
        yield from _in_list(shape.member, value, path, style)
    elif shape.type_name == "map" and isinstance(value, dict):
        yield from _broken_rules(shape, value, path)
        yield from _in_map(shape, value, path, style)
    else:
        yield from _broken_rules(shape, value, path)


def _in_list(member: Any, items: list[Any], path: str, style: Style) -> Iterator[str]:
    if member.type_name not in _COLLECTIONS and style.is_collective:
        if any(_breaks(member, each) for each in items):
            yield violation(items, path, f"Member must satisfy constraint: {_all_of(member, style)}")
        return
    for number, each in enumerate(items, 1):
        yield from _in_value(member, each, f"{path}.{number}.member", style)


def _in_map(shape: Any, items: Mapping[str, Any], path: str, style: Style) -> Iterator[str]:
    if any(_breaks(shape.key, each) for each in items):
        yield violation(items, path, f"Map keys must satisfy constraint: {_all_of(shape.key, style)}")
    if shape.value.type_name in _COLLECTIONS:
        for key, each in items.items():
            yield from _in_value(shape.value, each, f"{path}.{key}.member", style)
    elif any(_breaks(shape.value, each) for each in items.values()):
        yield violation(items, path, f"Map value must satisfy constraint: {_all_of(shape.value, style)}")


def _broken_rules(shape: Any, value: Any, path: str) -> Iterator[str]:
    for rule, is_kept in _rules(shape, value):
        if not is_kept and shape.metadata.get("sensitive"):
            yield secret_violation(path, rule)
        elif not is_kept:
            yield violation(value, path, rule)


def _breaks(shape: Any, value: Any) -> bool:
    return not all(is_kept for _, is_kept in _rules(shape, value))


def _all_of(shape: Any, style: Style) -> str:
    told = [rule for rule, _ in _rules(shape, 0 if shape.type_name in _NUMBERS else "")]
    return f"[{', '.join([*told, *(['Member must not be null'] if style.tells_null else [])])}]"


def _rules(shape: Any, value: Any) -> Iterator[tuple[str, bool]]:
    """Yield AWS's words for each of a shape's constraints, and whether the value keeps it."""
    limits, kind = shape.metadata, shape.type_name
    if kind in _NUMBERS:
        number = float(value)
        if "max" in limits:
            yield f"Member must have value less than or equal to {limits['max']}", number <= limits["max"]
        if "min" in limits:
            yield f"Member must have value greater than or equal to {limits['min']}", number >= limits["min"]
    elif kind in ("string", "list", "map"):
        if "max" in limits:
            yield f"Member must have length less than or equal to {limits['max']}", len(value) <= limits["max"]
        if "min" in limits:
            yield f"Member must have length greater than or equal to {limits['min']}", len(value) >= limits["min"]
    if kind == "string":
        if allowed := limits.get("enum"):
            yield f"Member must satisfy enum value set: [{', '.join(allowed)}]", value in allowed
        if (pattern := limits.get("pattern")) and (known := compiled(pattern)) is not None:
            is_long = len(value) > limits.get("max", len(value))  # said above
            yield f"Member must satisfy regular expression pattern: {pattern}", is_long or _is_kept(known, value)


def _is_kept(pattern: TimedRegex, value: str) -> bool:
    """Return whether the value matches; one for which a pattern takes too long is refused."""
    try:
        return pattern.is_all_of(value)
    except TooSlow:
        return False


def _join(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member
