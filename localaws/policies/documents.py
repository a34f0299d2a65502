"""Policy documents, compiled: what each statement is about, for whom, and under which conditions."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localaws.policies.conditions import Condition, condition
from localaws.policies.context import Context
from localaws.policies.patterns import Matcher, compiled, matcher, variables_of

ALLOW, DENY = "Allow", "Deny"
VERSION_WITH_VARIABLES = "2012-10-17"
_TARGETS = ("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource")
_ELEMENTS = {"Sid", "Effect", "Condition"}.union(*_TARGETS)


@dataclass(frozen=True)
class Statement:
    """One statement. `keys`: the context keys that its conditions and variables ask for, in lower case."""

    position: int
    sid: str
    is_deny: bool
    covers_action: Callable[[str], bool]
    covers_resource: Matcher
    principals: Principals | None
    conditions: tuple[Condition, ...]
    keys: frozenset[str]

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Return whether it is about this action on this resource in these circumstances."""
        return (
            self.covers_action(action)
            and self.covers_resource(resource, context)
            and all(is_met(context) for is_met in self.conditions)
        )


@dataclass(frozen=True)
class Principals:
    """Whom a resource's policy is about: names by their type (`AWS`, `Service`, …), or all others."""

    names: Mapping[str, frozenset[str]]
    are_excluded: bool


@dataclass(frozen=True)
class Policy:
    """A compiled policy and its name for people: an ARN, or the name of an inline policy."""

    name: str
    statements: tuple[Statement, ...]

    def keys(self, action: str | None = None) -> frozenset[str]:
        """Return the context keys that its statements ask for, those about an action if it is given."""
        asked = (each.keys for each in self.statements if action is None or each.covers_action(action))
        return frozenset[str]().union(*asked)


@functools.lru_cache(maxsize=2048)
def policy(name: str, text: str) -> Policy:
    """Return a policy document (JSON), compiled.

    Raises:
        ValueError: it is no JSON, or no policy.
        UnknownOperator: a condition has an operator that IAM does not have.
    """
    return policy_of(name, read_document(text))


def read_document(text: str | bytes) -> Any:
    """Return the JSON value of a policy document.

    Raises:
        ValueError: it is no JSON, or an object has a name twice, which IAM's grammar forbids
            (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
    """
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!a} is given twice")
    return found


def policy_of(name: str, document: Mapping[str, Any]) -> Policy:
    """Return a document that was read, compiled.

    Raises:
        ValueError: it is no policy.
        UnknownOperator: a condition has an operator that IAM does not have.
    """
    try:
        has_variables = document.get("Version") == VERSION_WITH_VARIABLES
        numbered = enumerate(statements_of(document))
        return Policy(name, tuple(_statement(place, each, has_variables=has_variables) for place, each in numbered))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"this is no policy document ({type(error).__name__}: {error})") from None


def resource_policy_of(name: str, document: Any) -> Policy:
    """Return a resource's policy that was read, compiled; each statement says who, what and on what.

    Raises:
        ValueError: it is no policy; the message is S3's.
        UnknownOperator: a condition has an operator that IAM does not have.
    """
    if not isinstance(document, Mapping):
        raise ValueError("Policies must be valid JSON and the first byte must be '{'")
    compiled_policy = policy_of(name, document)
    for each in statements_of(document):
        for name, opposite in _TARGETS:
            if name not in each and opposite not in each:
                raise ValueError(f"Missing required field {name}")
    return compiled_policy


def statements_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the statements of a policy document, which may hold one or a list."""
    return list_of(document.get("Statement", []))


def list_of(value: Any) -> list[Any]:
    """Return the values of an element that may be one value or a list."""
    return value if isinstance(value, list) else [value]


def _statement(position: int, raw: Mapping[str, Any], *, has_variables: bool) -> Statement:
    if unknown := sorted(raw.keys() - _ELEMENTS):
        raise ValueError(f"Unknown field {unknown[0]}")
    if raw["Effect"] not in (ALLOW, DENY):
        raise ValueError(f"Invalid effect: {raw['Effect']}")
    resources = [str(each) for name in ("Resource", "NotResource") for each in list_of(raw.get(name, []))]
    blocks = [
        (operator, key, list_of(wanted))
        for operator, keys in raw.get("Condition", {}).items()
        for key, wanted in keys.items()
    ]
    texts = [*resources, *(str(each) for _, _, wanted in blocks for each in wanted)]
    return Statement(
        position=position,
        sid=raw.get("Sid", ""),
        is_deny=raw["Effect"] == DENY,
        covers_action=_actions(raw),
        covers_resource=_resources(raw, resources, has_variables=has_variables),
        principals=_principals(raw),
        conditions=tuple(condition(*each, has_variables=has_variables) for each in blocks),
        keys=frozenset(key.lower() for _, key, _ in blocks) | (variables_of(texts) if has_variables else frozenset()),
    )


def _actions(raw: Mapping[str, Any]) -> Callable[[str], bool]:
    if "NotAction" in raw:
        left_out = compiled(tuple(list_of(raw["NotAction"])), ignore_case=True)
        return lambda action: not left_out(action)
    return compiled(tuple(list_of(raw.get("Action", "*"))), ignore_case=True)


def _resources(raw: Mapping[str, Any], patterns: Iterable[str], *, has_variables: bool) -> Matcher:
    if "NotResource" not in raw and "Resource" not in raw:
        return lambda *_: True  # a trust policy's is the role
    covers = matcher(patterns, has_variables=has_variables)
    if "NotResource" in raw:
        return lambda resource, context: not covers(resource, context)
    return covers


def _principals(raw: Mapping[str, Any]) -> Principals | None:
    name = next((each for each in ("Principal", "NotPrincipal") if each in raw), None)
    if name is None:
        return None
    given = {"AWS": raw[name]} if isinstance(raw[name], str) else raw[name]
    return Principals({kind: frozenset(list_of(names)) for kind, names in given.items()}, name == "NotPrincipal")
