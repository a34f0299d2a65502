"""What a role, user, group or policy was granted and when that was used last, from the record of all requests.

AWS tells actions of some services only, and keeps 400 days; here are all that were asked for since the server started.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import NoSuchEntity
from moto.iam.responses import IamResponse

from localaws.iam.simulation import find_principal
from localaws.paging import page_of
from localaws.permissions import catalog
from localaws.permissions.authority import Authority
from localaws.permissions.identities import attached_to
from localaws.permissions.usage import Use
from localaws.policies.documents import Policy

ACTIONS = "ACTION_LEVEL"
PAGE_SIZE = 100


@dataclass(frozen=True)
class Report:
    """A report that was made: its rows are those of GetServiceLastAccessedDetails."""

    kind: str
    made_at: datetime
    rows: list[dict[str, Any]]


class LastAccessed:
    """Makes reports and keeps them for those who ask for them later."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._reports: dict[str, Report] = {}

    def generate(self, response: IamResponse) -> ActionResult:
        """Make a report of the entity of the request.

        Raises:
            NoSuchEntity: it does not exist.
        """
        wanted = response._get_params()
        arn, kind = wanted["Arn"], wanted.get("Granularity", "SERVICE_LEVEL")
        owners, policies = _granted(response.backend, arn)
        uses = [use for each in owners for use in self._authority.usage.of(each).items()]
        identity = secrets.token_hex(18)
        rows = [_row(service, uses, arn, kind) for service in _services(policies)]
        self._reports[identity] = Report(kind, datetime.now(UTC), rows)
        return ActionResult({"JobId": identity})

    def get(self, response: IamResponse) -> ActionResult:
        """Answer with a page of a report.

        Raises:
            NoSuchEntity: there is no such report.
        """
        wanted = response._get_params()
        report = self._reports.get(wanted["JobId"])
        if report is None:
            raise NoSuchEntity(f"The job {wanted['JobId']} cannot be found.")
        page, marker = page_of(report.rows, wanted.get("Marker"), wanted.get("MaxItems") or PAGE_SIZE, service="iam")
        return ActionResult(
            {
                "JobStatus": "COMPLETED",
                "JobType": report.kind,
                "JobCreationDate": report.made_at,
                "JobCompletionDate": report.made_at,
                "ServicesLastAccessed": page,
                "IsTruncated": bool(marker),
                **({"Marker": marker} if marker else {}),
            }
        )


def install_last_accessed(authority: Authority) -> None:
    """Add the operations, which moto lacks."""
    reports: Any = LastAccessed(authority)
    IamResponse.generate_service_last_accessed_details = lambda self: reports.generate(self)  # type: ignore[attr-defined]
    IamResponse.get_service_last_accessed_details = lambda self: reports.get(self)  # type: ignore[attr-defined]


def _granted(backend: Any, arn: str) -> tuple[list[str], list[Policy]]:
    """Return who used what an entity grants, and its policies."""
    stored = backend.managed_policies.get(arn)
    if stored is None:
        owner = find_principal(backend, arn)
        members = [each.arn for each in getattr(owner, "users", [])]
        return [arn, *members], [each.policy for each in attached_to(backend, owner)]
    holders = [each for kind in (backend.roles, backend.users) for each in list(kind.values())]
    holding = [each.arn for each in holders if arn in each.managed_policies]
    return holding, [each.policy for one in holders if one.arn in holding for each in attached_to(backend, one)]


def _services(policies: Iterable[Policy]) -> list[str]:
    """Return the services of which any action is allowed, whatever the resource."""
    allowing = [each for one in policies for each in one.statements if not each.is_deny]
    return [
        service
        for service in catalog.services()
        if any(each.covers_action(f"{service}:{name}") for each in allowing for name in catalog.names(service))
    ]


def _row(service: str, uses: Iterable[tuple[str, Use]], arn: str, kind: str) -> dict[str, Any]:
    own = {action: use for action, use in uses if action.startswith(f"{service}:") and use.allowed}
    last = max((use.last for use in own.values()), key=lambda each: each.at, default=None)
    seen: Mapping[str, Any] = (
        {"LastAuthenticated": last.at, "LastAuthenticatedEntity": arn, "LastAuthenticatedRegion": last.region}
        if last
        else {}
    )
    row = {"ServiceName": service, "ServiceNamespace": service, "TotalAuthenticatedEntities": int(bool(own)), **seen}
    if kind == ACTIONS:
        row["TrackedActionsLastAccessed"] = [_action(action, use, arn) for action, use in sorted(own.items())]
    return row


def _action(action: str, use: Use, arn: str) -> dict[str, Any]:
    return {
        "ActionName": action.partition(":")[2],
        "LastAccessedEntity": arn,
        "LastAccessedTime": use.last.at,
        "LastAccessedRegion": use.last.region,
    }
