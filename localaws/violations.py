"""AWS's words for a value that breaks a constraint of a service's model."""

from collections.abc import Sequence
from typing import Any


def violation(value: Any, path: str, rule: str) -> str:
    """Return AWS's words for a value that breaks a rule. `path`: where the value is in the request."""
    return f"Value {_shown(value)} at '{path}' failed to satisfy constraint: {rule}"


def secret_violation(path: str, rule: str) -> str:
    """Return AWS's words for a secret value that breaks a rule: they do not show it."""
    return f"Value at '{path}' failed to satisfy constraint: {rule}"


def one_violation(value: Any, path: str, rule: str) -> str:
    """Return AWS's message for a request in which only this value breaks a rule."""
    return f"1 validation error detected: {violation(value, path, rule)}"


def not_a_member(value: Any, path: str, allowed: Sequence[str]) -> str:
    """Return AWS's message for a request in which only this value is none of those allowed."""
    return one_violation(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")


def _shown(value: Any) -> str:
    return "null" if value is None else f"'{_in_java(value)}'"


def _in_java(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_in_java(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}={_in_java(each)}' for name, each in value.items())}}}"
    return str(value)
