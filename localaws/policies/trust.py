"""Role trust policies, as a service meets them that is to assume a role."""

from collections.abc import Mapping
from typing import Any

from localaws.policies.context import NOTHING, Context
from localaws.policies.decision import Identity, Principal, Request, decide
from localaws.policies.documents import policy_of, read_document

ASSUME = "sts:AssumeRole"
TRUSTED = frozenset({ASSUME, "sts:TagSession", "sts:SetSourceIdentity"})
"""What a role's trust policy has to allow when the role is assumed."""


def trusts(document: str | Mapping[str, Any], service: str, context: Context = NOTHING) -> bool:
    """Return whether a role's trust policy lets `service` (as in "ec2.amazonaws.com") assume the role."""
    trust = policy_of("trust policy", read_document(document) if isinstance(document, str) else document)
    request = Request(ASSUME, "", context)
    return decide(Principal(service=service), Identity(), request, trust, is_trust=True).is_allowed
