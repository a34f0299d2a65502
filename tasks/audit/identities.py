"""Read roles, users, groups, instance profiles, credentials and last accesses from IAM."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from tasks.audit.account import Credentials, Identity, Policy, Profile
from tasks.audit.looking import Look
from tasks.audit.policy import Document

SERVICE_LINKED = "/aws-service-role/"
_KINDS = ["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"]


def identities(look: Look) -> tuple[tuple[Identity, ...], int]:
    """Return the identities, and how many service-linked roles were left out, because nobody can change those.

    Raises:
        ClientError: IAM refused GetAccountAuthorizationDetails, without which there is no audit.
    """
    pages = list(look.pages("iam", "get_account_authorization_details", Filter=_KINDS))
    managed = {each["Arn"]: _default(each) for page in pages for each in page["Policies"]}
    read = _Reader(look, managed)
    roles = [each for page in pages for each in page["RoleDetailList"]]
    own = [each for each in roles if not each["Path"].startswith(SERVICE_LINKED)]
    found = (
        *(read.identity("role", each, each["RoleName"], each["RolePolicyList"]) for each in own),
        *(
            read.identity("user", each, each["UserName"], each.get("UserPolicyList", []))
            for page in pages
            for each in page["UserDetailList"]
        ),
        *(
            read.identity("group", each, each["GroupName"], each["GroupPolicyList"])
            for page in pages
            for each in page["GroupDetailList"]
        ),
    )
    return found, len(roles) - len(own)


def _default(policy: Mapping[str, Any]) -> Document:
    found: Document = next(each["Document"] for each in policy["PolicyVersionList"] if each["IsDefaultVersion"])
    return found


class _Reader:
    """Makes identities of IAM's answer, with the documents of the managed policies."""

    def __init__(self, look: Look, managed: Mapping[str, Document]) -> None:
        self._look = look
        self._managed = managed

    def identity(
        self, kind: Literal["role", "user", "group"], raw: Mapping[str, Any], name: str, inline: list[Any]
    ) -> Identity:
        """Return a role, user or group; a policy whose document IAM did not give is noted."""
        attached = raw.get("AttachedManagedPolicies", [])
        boundary = raw.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        used = raw.get("RoleLastUsed", {})
        return Identity(
            kind=kind,
            name=name,
            arn=raw["Arn"],
            created=raw["CreateDate"],
            policies=(
                *(Policy(each["PolicyName"], None, each["PolicyDocument"]) for each in inline),
                *(
                    Policy(p["PolicyName"], p["PolicyArn"], self._document(p["PolicyArn"], name) or {})
                    for p in attached
                ),
            ),
            boundary=self._document(boundary, name) if boundary else None,
            groups=tuple(raw.get("GroupList", [])),
            trust=raw.get("AssumeRolePolicyDocument"),
            last_used=used.get("LastUsedDate"),
            last_used_region=used.get("Region"),
            profiles=tuple(each["InstanceProfileName"] for each in raw.get("InstanceProfileList", [])),
        )

    def _document(self, arn: str, name: str) -> Document | None:
        if arn not in self._managed:
            self._look.notes.append(f"not looked at: what the policy {arn} of {name} says (IAM did not list it)")
        return self._managed.get(arn)


def profiles(look: Look) -> Iterator[Profile]:
    """Yield the instance profiles."""
    for each in look.all("iam", "list_instance_profiles", "InstanceProfiles"):
        yield Profile(each["InstanceProfileName"], each["Arn"], tuple(role["RoleName"] for role in each["Roles"]))


def credentials(look: Look) -> Iterator[Credentials]:
    """Yield the rows of the credential report, with the ids of active keys; those of the root user have none."""

    def generated() -> tuple[bool | None, str]:
        state = look.one("iam", "generate_credential_report")["State"]
        return state == "COMPLETE" or None, state

    look.until("credential report", generated)
    report = look.one("iam", "get_credential_report")["Content"].decode()
    for row in csv.DictReader(io.StringIO(report)):
        active = [number for number in "12" if row[f"access_key_{number}_active"] == "true"]
        listed = bool(active) and not row["user"].startswith("<")
        keys = _keys(look, row["user"]) if listed else {n: _date(row[f"access_key_{n}_last_rotated"]) for n in active}
        is_on = {name: row[name] == "true" for name in ("password_enabled", "mfa_active")}
        # The root user always has a password; the report says "not_supported".
        has_password = is_on["password_enabled"] or row["user"].startswith("<")
        yield Credentials(row["user"], row["arn"], has_password, is_on["mfa_active"], keys)


def _keys(look: Look, user: str) -> dict[str, datetime]:
    listed = look.all("iam", "list_access_keys", "AccessKeyMetadata", UserName=user)
    return {each["AccessKeyId"]: each["CreateDate"] for each in listed if each["Status"] == "Active"}


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def last_accessed(look: Look, owners: Sequence[Identity]) -> dict[str, dict[str, datetime | None]]:
    """Return, by ARN, the services that an owner's policies name and the last access to each."""
    jobs = {each.arn: look.one("iam", "generate_service_last_accessed_details", Arn=each.arn) for each in owners}
    return {arn: _accesses(look, job["JobId"]) for arn, job in jobs.items() if job is not None}


def _accesses(look: Look, job: str) -> dict[str, datetime | None]:
    def page(**marker: str) -> Callable[[], tuple[Any, str]]:
        def probe() -> tuple[Any, str]:
            answer = look.one("iam", "get_service_last_accessed_details", JobId=job, **marker)
            return (answer if answer["JobStatus"] != "IN_PROGRESS" else None), answer["JobStatus"]

        return probe

    found: dict[str, datetime | None] = {}
    marker: dict[str, str] = {}
    for number in itertools.count(1):
        answer = look.until(f"last accesses, page {number}", page(**marker))
        found |= {each["ServiceNamespace"]: each.get("LastAuthenticated") for each in answer["ServicesLastAccessed"]}
        if not answer.get("IsTruncated"):
            break
        marker = {"Marker": answer["Marker"]}
    return found
