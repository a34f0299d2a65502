"""`SimulatePrincipalPolicy` on the policies that moto stores for a user, group or role."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import InvalidInput, NoSuchEntity
from moto.iam.responses import IamResponse

from localaws.paging import page_of
from localaws.policies import ALLOWED, Decision, Request, evaluate, unsupported_operators

PAGE_SIZE = 100

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """A policy and AWS's SourcePolicyType of it: user, group, role, aws-managed, user-managed or none."""

    kind: str
    document: Document


def simulate_principal_policy(self: IamResponse) -> ActionResult:
    """Answer, for each action and resource, what the principal's policies decide.

    Raises:
        NoSuchEntity: the principal does not exist.
        InvalidInput: a parameter or a condition operator is not supported.
    """
    parameters = self._get_params()
    if "ResourcePolicy" in parameters:
        raise InvalidInput("localaws does not simulate ResourcePolicy.")
    principal = find_principal(self.backend, parameters["PolicySourceArn"])
    policies = policies_of(self.backend, principal)
    for position, document in enumerate(_strings(parameters.get("PolicyInputList")), 1):
        policies[f"PolicyInputList.{position}"] = Source("none", json.loads(document))
    results = [
        _result(Request(action, resource, _context(parameters)), policies, boundary_of(self.backend, principal))
        for action in _strings(parameters["ActionNames"])
        for resource in _strings(parameters.get("ResourceArns")) or ["*"]
    ]
    return _page(results, parameters)


def find_principal(backend: Any, arn: str) -> Any:
    """Return moto's user, group or role of an ARN.

    Raises:
        NoSuchEntity: there is none.
    """
    for identities in (backend.roles, backend.users, backend.groups):
        for identity in identities.values():
            if identity.arn == arn:
                return identity
    raise NoSuchEntity(f"The entity {arn} cannot be found.")


def policies_of(backend: Any, identity: Any) -> dict[str, Source]:
    """Return an identity's inline and attached policies by name, a user's groups' included."""
    kind = type(identity).__name__.lower()
    found = {name: Source(kind, json.loads(document)) for name, document in identity.policies.items()}
    for policy in identity.managed_policies.values():
        owner = "aws-managed" if ":iam::aws:" in policy.arn else "user-managed"
        found[policy.name] = Source(owner, _default_document(policy))
    for group in backend.groups.values():
        if identity in group.users:
            found |= policies_of(backend, group)
    return found


def boundary_of(backend: Any, identity: Any) -> Document | None:
    """Return the document of an identity's permissions boundary, or None if it has none."""
    arn = getattr(identity, "permissions_boundary_arn", None)
    return _default_document(backend.managed_policies[arn]) if arn else None


def _default_document(policy: Any) -> Document:
    document: Document = json.loads(next(v.document for v in policy.versions if v.is_default))
    return document


def _result(request: Request, policies: Mapping[str, Source], boundary: Document | None) -> dict[str, Any]:
    decision = _decide(policies, request)
    result: dict[str, Any] = {
        "EvalActionName": request.action,
        "EvalResourceName": request.resource,
        "EvalDecision": decision.effect,
        "MatchedStatements": [
            {"SourcePolicyId": name, "SourcePolicyType": policies[name].kind} for name in decision.matched
        ],
        "MissingContextValues": list(decision.missing_context),
    }
    if boundary is not None:
        within = _decide({"boundary": Source("none", boundary)}, request).effect
        result["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": within == ALLOWED}
        if decision.effect == ALLOWED and within != ALLOWED:
            result |= {"EvalDecision": within, "MatchedStatements": []}
    return result


def _decide(policies: Mapping[str, Source], request: Request) -> Decision:
    unsupported = sorted({name for source in policies.values() for name in unsupported_operators(source.document)})
    if unsupported:
        raise InvalidInput(f"localaws does not evaluate the condition operators {', '.join(unsupported)}.")
    return evaluate({name: source.document for name, source in policies.items()}, request)


def _context(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        entry["ContextKeyName"].lower(): _strings(entry.get("ContextKeyValues"))
        for entry in parameters.get("ContextEntries") or []
    }


def _page(results: list[dict[str, Any]], parameters: Mapping[str, Any]) -> ActionResult:
    page, marker = page_of(results, parameters.get("Marker"), parameters.get("MaxItems") or PAGE_SIZE)
    more = {"Marker": marker} if marker else {}
    return ActionResult({"EvaluationResults": page, "IsTruncated": bool(marker), **more})


def _strings(values: Any) -> list[str]:
    return [values] if isinstance(values, str) else list(values or [])
