"""IAM policy evaluation: Allow, Deny, wildcards and conditions, over policy documents as they are written.

Covered: Action/NotAction, Resource/NotResource, Principal (everyone, account, ARN), Condition with the operators below
(and their `IfExists` and `ForAnyValue:`/`ForAllValues:` forms), policy variables of the context. A condition with
another operator raises.
Not covered: NotPrincipal, service control policies and session policies.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localaws.errors import AwsError

Context = Mapping[str, list[str]]
Statement = Mapping[str, Any]

ALLOWED = "allowed"
IMPLICIT_DENY = "implicitDeny"
EXPLICIT_DENY = "explicitDeny"


@dataclass(frozen=True)
class Request:
    """What is asked: an action (`s3:GetObject`) on a resource ARN, by a principal, with lower-case context keys."""

    action: str
    resource: str
    context: Context
    principal: str | None = None


@dataclass(frozen=True)
class Decision:
    """`allowed`, `implicitDeny` or `explicitDeny`, and the names of the policies whose statements decided."""

    effect: str
    matched: tuple[str, ...]
    missing_context: tuple[str, ...]


def evaluate(policies: Mapping[str, Mapping[str, Any]], request: Request) -> Decision:
    """Decide as IAM does: any matching Deny wins, else any matching Allow, else an implicit deny.

    Raises:
        AwsError: InvalidInput, for a condition operator that is not evaluated.
    """
    matching: dict[str, list[str]] = {"Allow": [], "Deny": []}
    for name, document in policies.items():
        for statement in statements_of(document):
            if _matches(statement, request):
                matching[statement["Effect"]].append(name)
    missing = tuple(sorted(_context_keys(policies.values()) - set(request.context)))
    if matching["Deny"]:
        return Decision(EXPLICIT_DENY, tuple(dict.fromkeys(matching["Deny"])), missing)
    if matching["Allow"]:
        return Decision(ALLOWED, tuple(dict.fromkeys(matching["Allow"])), missing)
    return Decision(IMPLICIT_DENY, (), missing)


def statements_of(document: Mapping[str, Any]) -> list[Statement]:
    """Return the statements of a policy document, which may hold one or a list."""
    return _list(document.get("Statement", []))


def trusts(document: str | Mapping[str, Any], service: str) -> bool:
    """Return whether a role's trust policy lets `service` (as in "ec2.amazonaws.com") assume the role."""
    policy = json.loads(document) if isinstance(document, str) else document
    for statement in statements_of(policy):
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow" and service in _list(services):
            return True
    return False


def unsupported_operators(document: Mapping[str, Any]) -> list[str]:
    """Return the condition operators of a policy document that are not evaluated here."""
    used = {operator for statement in statements_of(document) for operator in statement.get("Condition", {})}
    return sorted(
        operator for operator in used if _bare(operator) != "Null" and _positive(_bare(operator)) not in _OPERATORS
    )


def matches_pattern(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Return whether `value` matches an IAM pattern: `*` any run of characters, `?` any one character, nothing else."""
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(translated, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _matches(statement: Statement, request: Request) -> bool:
    return (
        _element(statement, "Action", lambda pattern: matches_pattern(pattern, request.action, ignore_case=True))
        and _element(statement, "Resource", lambda pattern: matches_pattern(_fill(pattern, request), request.resource))
        and _principal(statement, request.principal)
        and all(
            _condition(operator, key.lower(), _list(values), request)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _element(statement: Statement, name: str, matches: Callable[[str], bool]) -> bool:
    if f"Not{name}" in statement:
        return not any(matches(pattern) for pattern in _list(statement[f"Not{name}"]))
    return name not in statement or any(matches(pattern) for pattern in _list(statement[name]))


def _principal(statement: Statement, principal: str | None) -> bool:
    if "Principal" not in statement:
        return True
    allowed = statement["Principal"]
    names = ["*"] if allowed == "*" else [name for value in allowed.values() for name in _list(value)]
    account = principal.split(":")[4] if principal and principal.count(":") >= 5 else None
    return any(name in {"*", principal, account, f"arn:aws:iam::{account}:root"} for name in names)


def _fill(pattern: str, request: Request) -> str:
    def value_of(found: re.Match[str]) -> str:
        values = request.context.get(found.group(1).lower())
        return values[0] if values else found.group(0)

    return re.sub(r"\$\{([^}]+)\}", value_of, pattern)


def _condition(operator: str, key: str, wanted: list[str], request: Request) -> bool:
    quantifier, optional, bare = operator.rpartition(":")[0], operator.endswith("IfExists"), _bare(operator)
    actual = request.context.get(key)
    if bare == "Null":
        return (actual is None) == (str(wanted[0]).lower() == "true")
    negated = bare.startswith(("StringNot", "ArnNot", "NumericNot", "NotIp"))
    if actual is None:
        return optional or quantifier == "ForAllValues" or (negated and quantifier != "ForAnyValue")
    test = _operator(bare)
    filled = [_fill(_text(value), request) for value in wanted]
    hits = [any(test(value, pattern) for pattern in filled) != negated for value in actual]
    return all(hits) if quantifier == "ForAllValues" or (negated and not quantifier) else any(hits)


def _operator(name: str) -> Callable[[str, str], bool]:
    if _positive(name) not in _OPERATORS:
        raise AwsError("InvalidInput", f"localaws does not evaluate the condition operator {name!r}.")
    return _OPERATORS[_positive(name)]


def _bare(operator: str) -> str:
    return operator.rpartition(":")[2].removesuffix("IfExists")


def _positive(name: str) -> str:
    return name.replace("Not", "", 1)


def _compare(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda value, wanted: test(float(value), float(wanted))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": lambda value, wanted: matches_pattern(wanted, value),
    "ArnEquals": lambda value, wanted: matches_pattern(wanted, value),
    "ArnLike": lambda value, wanted: matches_pattern(wanted, value),
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "IpAddress": lambda value, wanted: ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False),
    "NumericEquals": _compare(lambda value, wanted: value == wanted),
    "NumericLessThan": _compare(lambda value, wanted: value < wanted),
    "NumericLessThanEquals": _compare(lambda value, wanted: value <= wanted),
    "NumericGreaterThan": _compare(lambda value, wanted: value > wanted),
    "NumericGreaterThanEquals": _compare(lambda value, wanted: value >= wanted),
}


def _context_keys(documents: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        key.lower()
        for document in documents
        for statement in statements_of(document)
        for keys in statement.get("Condition", {}).values()
        for key in keys
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
