"""Read roles, users, groups, instance profiles, credentials and last accesses from IAM."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from tasks.account.policy_documents import Document, NotAPolicy, read_policy
from tasks.audit.account import ROOT, Credentials, Identity, Policy, Profile
from tasks.audit.looking import Look
from tasks.run.errors import MalformedAnswer

SERVICE_LINKED = "/aws-service-role/"
_FILTER = ["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"]
_KINDS: tuple[tuple[Literal["role", "user", "group"], str], ...] = (
    ("role", "Role"),
    ("user", "User"),
    ("group", "Group"),
)


def identities(look: Look) -> tuple[tuple[Identity, ...], int]:
    """Return the identities, and how many service-linked roles were left out, because nobody can change those.

    A policy whose document IAM did not give, or which is no policy, is noted, and counts as empty.

    Raises:
        MalformedAnswer: the answer lacks what it has to have.
        ClientError: IAM refused GetAccountAuthorizationDetails, without which there is no audit.
    """
    pages = list(look.pages("iam", "get_account_authorization_details", Filter=_FILTER))
    try:
        return _identities(look, pages)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
        what = f"GetAccountAuthorizationDetails answered something that is not IAM's ({type(error).__name__}: {error})"
        why, todo = "without the identities there is no audit", "look at what answers there, then kennel audit"
        raise MalformedAnswer("audit: identities", what, why, todo, is_reading=True) from error


def _identities(look: Look, pages: Sequence[Mapping[str, Any]]) -> tuple[tuple[Identity, ...], int]:
    managed = {each["Arn"]: _document(look, each["Arn"], _default(each)) for page in pages for each in page["Policies"]}
    listed = [(kind, word, raw) for kind, word in _KINDS for page in pages for raw in page[f"{word}DetailList"]]
    own = [each for each in listed if not each[2]["Path"].startswith(SERVICE_LINKED)]
    found = tuple(_identity(look, kind, word, raw, managed) for kind, word, raw in own)
    named = {arn for _, _, raw in own for arn in _managed_by(raw)}
    for arn in sorted(named - {*managed}):
        look.notes.append(f"not looked at: what the policy {arn} says (IAM did not list it)")
    return found, len(listed) - len(own)


def _default(policy: Mapping[str, Any]) -> Any:
    return next(each["Document"] for each in policy["PolicyVersionList"] if each["IsDefaultVersion"])


def _document(look: Look, whose: str, found: Any) -> Document:
    """Return a policy's document, or an empty one and a note."""
    try:
        return read_policy(found)
    except NotAPolicy as error:
        look.notes.append(f"not looked at: what the policy {whose} says ({error})")
        return {}


def _managed_by(raw: Mapping[str, Any]) -> list[str]:
    boundary = raw.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return [each["PolicyArn"] for each in raw.get("AttachedManagedPolicies", [])] + ([boundary] if boundary else [])


def _identity(
    look: Look,
    kind: Literal["role", "user", "group"],
    word: str,
    raw: Mapping[str, Any],
    managed: Mapping[str, Document],
) -> Identity:
    used, attached = raw.get("RoleLastUsed", {}), raw.get("AttachedManagedPolicies", [])
    arn = raw["Arn"]
    inline = (
        Policy(each["PolicyName"], None, _document(look, f"{each['PolicyName']} of {arn}", each["PolicyDocument"]))
        for each in raw.get(f"{word}PolicyList", [])
    )
    return Identity(
        kind=kind,
        name=raw[f"{word}Name"],
        arn=arn,
        created=raw["CreateDate"],
        policies=(
            *inline,
            *(Policy(p["PolicyName"], p["PolicyArn"], managed.get(p["PolicyArn"], {})) for p in attached),
        ),
        boundary=managed.get(raw.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")),
        groups=tuple(raw.get("GroupList", [])),
        trust=_document(look, f"of who may assume {arn}", raw["AssumeRolePolicyDocument"]) if kind == "role" else None,
        last_used=used.get("LastUsedDate"),
        last_used_region=used.get("Region"),
        profiles=tuple(each["InstanceProfileName"] for each in raw.get("InstanceProfileList", [])),
    )


def profiles(look: Look) -> Iterator[Profile]:
    """Yield the instance profiles."""
    for each in look.all("iam", "list_instance_profiles", "InstanceProfiles"):
        yield Profile(each["InstanceProfileName"], each["Arn"], tuple(role["RoleName"] for role in each["Roles"]))


def credentials(look: Look) -> Iterator[Credentials]:
    """Yield the rows of the credential report, with the ids of active keys; the root user's have their numbers.

    The report does not say whether the root user has a password, the account's summary does.
    """

    def generated() -> tuple[bool | None, str]:
        state = look.one("iam", "generate_credential_report")["State"]
        return state == "COMPLETE" or None, state

    look.until("credential report", generated)
    summary = look.one("iam", "get_account_summary")["SummaryMap"]
    report = look.one("iam", "get_credential_report")["Content"].decode()
    for row in csv.DictReader(io.StringIO(report)):
        active = [number for number in "12" if row[f"access_key_{number}_active"] == "true"]
        listed = bool(active) and row["user"] != ROOT
        keys = _keys(look, row["user"]) if listed else {n: _date(row[f"access_key_{n}_last_rotated"]) for n in active}
        is_on = {name: row[name] == "true" for name in ("password_enabled", "mfa_active")}
        has_password = is_on["password_enabled"] or (
            row["user"] == ROOT and summary.get("AccountPasswordPresent", 1) == 1
        )
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
        if answer["JobStatus"] == "FAILED":
            look.notes.append(f"not looked at: last accesses of job {job}, which failed")
            return {}
        found |= {each["ServiceNamespace"]: each.get("LastAuthenticated") for each in answer["ServicesLastAccessed"]}
        if not answer.get("IsTruncated"):
            break
        marker = {"Marker": answer["Marker"]}
    return found
