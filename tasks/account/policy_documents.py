"""Read policy documents as AWS gives them; what is none is refused, with what is wrong about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tasks.run.sealed import parse_json

Document = Mapping[str, Any]
_TEXTS = ("Effect", "Sid")
_LISTS = ("Action", "NotAction", "Resource", "NotResource")
_PRINCIPALS = ("Principal", "NotPrincipal")


class NotAPolicy(ValueError):
    """What AWS gave is no policy document; the message says why."""


def read_policy(found: Any) -> Document:
    """Return a policy document that AWS gave as an object, or as a text of JSON, URL-encoded or not.

    Its statements are objects, whose effects, actions, resources, principals and conditions have the types that
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html allows.

    Raises:
        NotAPolicy: it is none.
    """
    try:
        document = parse_json(unquote(found) if found.startswith("%") else found) if isinstance(found, str) else found
    except ValueError as error:
        raise NotAPolicy(f"a policy is a JSON object, and it is no JSON ({error})") from error
    if not isinstance(document, Mapping):
        raise NotAPolicy(f"a policy is a JSON object, and it is {document!r:.80}")
    for statement in many(document.get("Statement")):
        problem = _problem(statement)
        if problem is not None:
            raise NotAPolicy(f"one of its statements {problem}")
    return document


def many(value: Any) -> list[Any]:
    """Return a value of a policy as a list: AWS accepts a single one without."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _problem(statement: Any) -> str | None:
    """Return what is wrong with a statement, or None."""
    if not isinstance(statement, Mapping):
        return f"is {statement!r:.80}, not an object"
    wrong = [name for name in _TEXTS if not isinstance(statement.get(name, ""), str)]
    wrong += [name for name in _LISTS if not _are_texts(statement.get(name))]
    wrong += [name for name in _PRINCIPALS if not _is_principal(statement.get(name, {}))]
    wrong += [] if _is_condition(statement.get("Condition")) else ["Condition"]
    return f"has {statement[wrong[0]]!r:.80} as its {wrong[0]}" if wrong else None


def _are_texts(value: Any) -> bool:
    return all(isinstance(each, str) for each in many(value))


def _is_principal(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and all(map(_are_texts, value.values())))


def _is_condition(value: Any) -> bool:
    """Tell whether it is an object of objects of texts, numbers and booleans."""
    if value is None:
        return True
    if not isinstance(value, Mapping) or not all(isinstance(keys, Mapping) for keys in value.values()):
        return False
    values = [each for keys in value.values() for listed in keys.values() for each in many(listed)]
    return all(isinstance(each, str | int | float) for each in values)
