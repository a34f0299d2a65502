"""Read policy documents: which actions a statement covers, on how much, for whom, and what its conditions leave.

Conditions are not evaluated. A condition counts as a limit unless its key is known to leave the grant as wide as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tasks.account.policy_documents import Document, many

_LEAVE_IT_WIDE = {
    *("aws:securetransport", "aws:requestedregion", "aws:currenttime", "aws:epochtime", "aws:useragent"),
    *("aws:multifactorauthpresent", "aws:multifactorauthage", "aws:tokenissuetime"),
    *("aws:sourceip", "aws:vpcsourceip", "aws:sourcevpc", "aws:sourcevpce"),
}
"""Condition keys that say how, when or from where an identity acts, and not on what."""

SOURCES = frozenset({"aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths"})
"""Condition keys that leave only some of the resources for which a service acts."""
CALLERS = SOURCES | {"aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn"}
CALLERS |= {"aws:userid", "aws:sourceip", "aws:sourcevpc", "aws:sourcevpce"}
"""Condition keys that leave only some callers. `sts:ExternalId` is none of them: it may be guessed, or leak."""

_EQUAL = {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"}
_UNEQUAL = {"stringnotequals", "stringnotequalsignorecase", "stringnotlike", "arnnotequals", "arnnotlike"}
_UNEQUAL |= {"notipaddress"}
_NO_LIMIT = re.compile(r"[*?]+|arn:[^:]*:\*.*|arn(:[^:]*){3}:\*+(:.*)?|arn(:[^:]*){3}::[*?]+|0\.0\.0\.0/0|::/0")
"""Values that hold for callers of every account: `*`, `arn:aws:iam::*:role/x`, `arn:aws:s3:::*`."""
_BROAD = re.compile(r"\*+|arn:\*|arn(:[^:]*){4}:(\*+|\*/\*)|arn(:[^:]*){3}:[^:]+:[a-z-]+[/:]\*+|arn:[^/]*:\*")
"""Every resource, or all of a type: `arn:aws:iam::*:role/*`, `arn:aws:s3:::*`, and not `arn:aws:s3:::bucket/*`."""


@dataclass(frozen=True)
class Condition:
    """One line of a statement's conditions, with operator and key in lower case."""

    operator: str
    key: str
    values: tuple[str, ...]

    def names_some(self, keys: Set[str]) -> bool:
        """Tell whether its key is one of the keys, and no value holds for callers of every account."""
        return self.key in keys and not any(map(_NO_LIMIT.fullmatch, self.values))


@dataclass(frozen=True)
class Statement:
    """A statement of a policy; principals are (kind, value), such as ("Service", "lambda.amazonaws.com")."""

    allows: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...]
    sid: str

    def covers(self, action: str) -> bool:
        """Tell whether the statement is about an action, such as "s3:GetObject"; resources are not looked at."""
        if self.not_actions:
            return not any(matches(pattern, action) for pattern in self.not_actions)
        return any(matches(pattern, action) for pattern in self.actions)

    @property
    def is_broad(self) -> bool:
        """Whether it is about every resource, or every one of a type: `*`, `arn:aws:iam::*:role/*`, NotResource."""
        return bool(self.not_resources) or any(_BROAD.fullmatch(each) for each in self.resources)

    def is_limited(self, passed_to: str) -> bool:
        """Tell whether a condition limits the grant; `iam:PassedToService` does not if it names `passed_to`."""
        return any(not _leaves(each, passed_to) for each in self.conditions)

    def is_limited_to(self, keys: Set[str]) -> bool:
        """Tell whether a condition on one of the keys leaves only callers that it names; all conditions must hold."""
        return any(each.operator in _EQUAL and each.names_some(keys) for each in self.conditions)

    def refuses(self, allowed: Statement, keys: Set[str]) -> bool:
        """Tell whether it denies all that `allowed` allows, but to callers that its negated conditions name."""
        if self.allows or not any(value == "*" for _, value in self.principals):
            return False
        negated = (
            each.operator.removesuffix("ifexists") in _UNEQUAL and each.names_some(keys) for each in self.conditions
        )
        actions = ("*",) if allowed.not_actions else allowed.actions
        resources = ("*",) if allowed.not_resources else allowed.resources
        return all(negated) and _contains(self.actions, actions) and _contains(self.resources, resources)


def _contains(patterns: tuple[str, ...], narrower: tuple[str, ...]) -> bool:
    """Tell whether each narrower pattern, read as a text, matches one of the patterns."""
    return all(any(matches(pattern, each) for pattern in patterns) for each in narrower)


def statements(document: Document) -> tuple[Statement, ...]:
    """Return the statements of a policy document; a document without any has none."""
    return tuple(_statement(each) for each in many(document.get("Statement")))


def trusted(document: Document, keys: Set[str]) -> Iterator[tuple[Statement, str, str]]:
    """Yield (statement, kind, value) for each principal that a resource's policy or a trust policy allows.

    Left out is what conditions on one of `keys`, in the statement or in a Deny of the same policy, limit.
    """
    every = statements(document)
    for allowed in every:
        if (
            allowed.allows
            and not allowed.is_limited_to(keys)
            and not any(each.refuses(allowed, keys) for each in every)
        ):
            yield from ((allowed, kind, value) for kind, value in allowed.principals)


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.IGNORECASE)


@lru_cache(maxsize=65_536)
def matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern of IAM (`*` and `?`, any case) matches a text."""
    return _pattern(pattern).fullmatch(text) is not None


def _leaves(condition: Condition, passed_to: str) -> bool:
    if condition.key == "iam:passedtoservice":
        return bool(passed_to) and any(matches(value, passed_to) for value in condition.values)
    return condition.key in _LEAVE_IT_WIDE


def _statement(raw: Mapping[str, Any]) -> Statement:
    return Statement(
        allows=raw.get("Effect") == "Allow",
        actions=_texts(raw.get("Action")),
        not_actions=_texts(raw.get("NotAction")),
        resources=_texts(raw.get("Resource")),
        not_resources=_texts(raw.get("NotResource")),
        principals=_principals(raw),
        conditions=tuple(
            Condition(operator.lower(), key.lower(), _texts(values))
            for operator, keys in (raw.get("Condition") or {}).items()
            for key, values in keys.items()
        ),
        sid=str(raw.get("Sid", "")),
    )


def _principals(raw: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the principals; everyone but those of NotPrincipal counts as everyone."""
    found = "*" if "NotPrincipal" in raw else raw.get("Principal", {})
    if isinstance(found, str):
        return (("AWS", found),)
    return tuple((kind, value) for kind, values in found.items() for value in _texts(values))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in many(value))
