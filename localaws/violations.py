"""AWS's words for a value that breaks a constraint of a service's model."""

from collections.abc import Sequence
from typing import Any


def violation(value: Any, path: str, rule: str) -> str:
    """Return AWS's words for a value that breaks a rule. `path`: where the value is in the request."""
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


def one_violation(value: Any, path: str, rule: str) -> str:
    """Return AWS's message for a request in which only this value breaks a rule."""
    return f"1 validation error detected: {violation(value, path, rule)}"


def not_a_member(value: Any, path: str, allowed: Sequence[str]) -> str:
    """Return AWS's message for a request in which only this value is none of those allowed."""
    return one_violation(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
