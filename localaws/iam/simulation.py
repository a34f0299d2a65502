"""`SimulatePrincipalPolicy` and `SimulateCustomPolicy`, decided by the code that decides on requests.

An action has one result, as AWS now answers, with its resources' in it. Source: EvaluationResult in botocore's model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import InvalidInput, NoSuchEntity
from moto.iam.responses import IamResponse

from localaws.paging import page_of
from localaws.partition import partition
from localaws.permissions import catalog
from localaws.permissions.identities import attached_to, identity_of
from localaws.policies.conditions import UnknownOperator
from localaws.policies.context import Context
from localaws.policies.decision import (
    ALLOWED,
    EXPLICIT_DENY,
    IMPLICIT_DENY,
    Decision,
    Identity,
    Kind,
    Principal,
    Request,
    decide,
    keys_of,
)
from localaws.policies.documents import Policy, policy
from localaws.policies.patterns import ARN_PARTS

PAGE_SIZE = 100
_RESOURCE = "ResourcePolicy"
_BOUNDARY = "PermissionsBoundaryDecisionDetail"
_STRICTNESS = (ALLOWED, IMPLICIT_DENY, EXPLICIT_DENY)


@dataclass(frozen=True)
class Simulated:
    """Who asks, what bounds them, the policy of the resources, and AWS's SourcePolicyType of each policy by name."""

    principal: Principal
    identity: Identity
    resource: Policy | None
    kinds: Mapping[str, str]


def simulate_principal_policy(self: IamResponse) -> ActionResult:
    """Answer, for each action, what the policies of a user, group or role decide on the resources.

    Raises:
        NoSuchEntity: the principal does not exist.
        InvalidInput: a policy is none.
    """
    parameters = self._get_params()
    owner = find_principal(self.backend, parameters["PolicySourceArn"])

    def of_owner() -> Simulated:
        kinds = {each.policy.name: each.kind for each in attached_to(self.backend, owner)}
        stored = identity_of(self.backend, owner)
        return _with_parameters(parameters, stored, kinds, _caller(parameters, owner.arn))

    return _answer(parameters, of_owner)


def simulate_custom_policy(self: IamResponse) -> ActionResult:
    """Answer, for each action, what the policies of the request decide on the resources.

    Raises:
        InvalidInput: a policy is none.
    """
    parameters = self._get_params()
    return _answer(parameters, lambda: _with_parameters(parameters, Identity(), {}, _caller(parameters, "")))


def find_principal(backend: Any, arn: str) -> Any:
    """Return moto's user, group or role of an ARN.

    Raises:
        NoSuchEntity: there is none.
    """
    for identities in (backend.roles, backend.users, backend.groups):
        for identity in list(identities.values()):
            if identity.arn == arn:
                return identity
    raise NoSuchEntity(f"The entity {arn} cannot be found.")


def _with_parameters(
    parameters: Mapping[str, Any], stored: Identity, kinds: Mapping[str, str], caller: Principal
) -> Simulated:
    """Add the policies of the request: they are the identity's, bound it, or are the resource's."""
    own = _policies(parameters, "PolicyInputList")
    boundaries = _policies(parameters, "PermissionsBoundaryPolicyInputList")
    boundary = boundaries[0] if boundaries else stored.boundary
    resource = policy(_RESOURCE, parameters[_RESOURCE]) if _RESOURCE in parameters else None
    return Simulated(caller, Identity((*stored.policies, *own), boundary), resource, kinds)


def _policies(parameters: Mapping[str, Any], name: str) -> list[Policy]:
    return [policy(f"{name}.{place}", text) for place, text in enumerate(_strings(parameters.get(name)), 1)]


def _caller(parameters: Mapping[str, Any], arn: str) -> Principal:
    named = parameters.get("CallerArn") or arn or f"arn:{partition()}:iam::123456789012:user/simulated"
    if named.count(":") < ARN_PARTS - 1:
        raise InvalidInput(f"Invalid ARN: {named}")
    return Principal(arn=named, account_id=named.split(":")[4], role_arn=named if ":role/" in named else "")


def _answer(parameters: Mapping[str, Any], read: Callable[[], Simulated]) -> ActionResult:
    try:
        simulated = read()
    except UnknownOperator as error:
        raise InvalidInput(f"IAM has no condition operator {error}.") from None
    except ValueError as error:
        raise InvalidInput(f"A policy of the request is none: {error}") from None
    owner_id = parameters.get("ResourceOwner", "").split(":")[4:5]
    resources = _strings(parameters.get("ResourceArns")) or ["*"]
    results = []
    for action in _strings(parameters["ActionNames"]):
        requests = [Request(action, resource, Context(_entries(parameters)), *owner_id) for resource in resources]
        results.append(_result(action, [_decided(simulated, each) for each in requests]))
    page, marker = page_of(results, parameters.get("Marker"), parameters.get("MaxItems") or PAGE_SIZE, service="iam")
    more = {"Marker": marker} if marker else {}
    return ActionResult({"EvaluationResults": page, "IsTruncated": bool(marker), **more})


def _result(action: str, decided: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one result for an action, with the most restrictive decision of its resources, and theirs."""
    strictest = max((each["EvalResourceDecision"] for each in decided), key=_STRICTNESS.index)
    deciding = [each for each in decided if each["EvalResourceDecision"] == strictest]
    result: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": _template(action),
        "EvalDecision": strictest,
        "MatchedStatements": _distinct(each for every in deciding for each in every["MatchedStatements"]),
        "MissingContextValues": sorted({each for every in decided for each in every["MissingContextValues"]}),
    }
    if _BOUNDARY in decided[0]:
        within = all(each[_BOUNDARY]["AllowedByPermissionsBoundary"] for each in decided)
        result[_BOUNDARY] = {"AllowedByPermissionsBoundary": within}
    is_listed = [each["EvalResourceName"] for each in decided] != ["*"]
    return {**result, "ResourceSpecificResults": decided} if is_listed else result


def _decided(simulated: Simulated, request: Request) -> dict[str, Any]:
    """Return the decision on one resource, as one of the `ResourceSpecificResults`."""
    decision = decide(simulated.principal, simulated.identity, request, simulated.resource)
    missing = sorted(key for key in keys_of(simulated.identity, simulated.resource) if request.context.get(key) is None)
    result: dict[str, Any] = {
        "EvalResourceName": request.resource,
        "EvalResourceDecision": decision.effect,
        "MatchedStatements": _matched(decision, simulated.kinds),
        "MissingContextValues": missing,
    }
    if simulated.identity.boundary is not None:
        within = decide(simulated.principal, Identity((simulated.identity.boundary,)), request)
        result[_BOUNDARY] = {"AllowedByPermissionsBoundary": within.is_allowed}
    return result


def _template(action: str) -> str:
    """Return the ARN of the first type of resource that an action is about, with variables; "*" if it has none."""
    known = catalog.find(action)
    kinds = [each.kind for each in known.uses if each.kind] if known else []
    return catalog.template(action.partition(":")[0], kinds[0]) if kinds else "*"


def _distinct(statements: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [dict(each) for each in dict.fromkeys(tuple(each.items()) for each in statements)]


def _matched(decision: Decision, kinds: Mapping[str, str]) -> list[dict[str, str]]:
    names = dict.fromkeys((each.policy, each.kind) for each in decision.matched)
    return [
        {"SourcePolicyId": name.rpartition("/")[2], "SourcePolicyType": _kind(name, kind, kinds)}
        for name, kind in names
    ]


def _kind(name: str, kind: Kind, kinds: Mapping[str, str]) -> str:
    return "resource" if kind is Kind.RESOURCE else kinds.get(name, "none")


def _entries(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    entries = parameters.get("ContextEntries") or []
    return {each["ContextKeyName"]: _strings(each.get("ContextKeyValues")) for each in entries}


def _strings(values: Any) -> list[str]:
    return [values] if isinstance(values, str) else list(values or [])
