"""What the roles of a run were granted, what of it they used, and the policies without what they did not use.

The embedded AWS tells every request. AWS tells when actions of some services were used last, hours later, and counts
nothing: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html. What is not told is
unknown, and never unused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote

from tasks.account.policy_documents import many
from tasks.account.role_policies import role_name
from tasks.account.roles import put_policy, role_policy
from tasks.run.aws import Aws
from tasks.run.bounded_answers import PageBounds
from tasks.run.errors import LedgerRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.machine import ask_embedded_aws
from tasks.run.record_store import Record
from tasks.run.settings import LOCAL_PERMISSIONS_PATH
from tasks.run.waiting import say, wait_for

WHERE = "permissions"
TOLD_WITHIN_SECONDS = 4 * 3600
"""AWS tells a use within this time."""

REPORT_SECONDS = 120.0
_SAGEMAKER_ROLES = "https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html"
NOT_EXERCISED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetAuthorizationToken",
            "ecr:GetDownloadUrlForLayer",
            "logs:DescribeLogStreams",
            "cloudwatch:PutMetricData",
            "kms:CreateGrant",
            "kms:Encrypt",
        ),
        _SAGEMAKER_ROLES,
    ),
    "s3:AbortMultipartUpload": "https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html",
}
"""Actions that a run may need on AWS without being seen to use them, with the page that says so. They are kept."""

State = Literal["used", "unused", "denied", "not exercised", "unknown"]
Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is told of one action: calls that were allowed (None: not counted) and denied, and the last (UTC, ISO)."""

    allowed: int | None = 0
    denied: int = 0
    last: str | None = None


@dataclass(frozen=True)
class Told:
    """What is told of a role by action; `others` holds for every action that is not named, None if that is unknown."""

    actions: Mapping[str, Asked]
    others: Asked | None
    note: str = ""


@dataclass(frozen=True)
class ActionUse:
    """An action of a role. `count`: calls that were allowed, None where nobody counts; `last`: UTC, ISO 8601."""

    role: str
    action: str
    state: State
    count: int | None = None
    denied: int = 0
    last: str | None = None
    note: str = ""


@dataclass(frozen=True)
class PermissionUse(Record, file="permissions.json", called="use of permissions", made_by="pipeline"):
    """Each action of each existing role of a run; `taken_away` were granted, never used, and are not granted now."""

    source: str
    rows: tuple[ActionUse, ...]
    taken_away: tuple[ActionUse, ...] = ()

    @property
    def denials(self) -> Mapping[tuple[str, str], int]:
        """The number of calls that were denied, by role and action."""
        return {(row.role, row.action): row.denied for row in self.rows}


def permission_use(run: Run) -> PermissionUse:
    """Ask what the existing roles of a run used.

    Raises:
        AwsFailed: IAM refused, or did not answer.
        StageFailed: AWS's report failed.
        WaitTimedOut: AWS's report was not ready in time.
    """
    found = recorded_use(run)
    if found is not None:
        return found
    age = min((row.age_seconds for row in run.ledger.live()), default=0.0)
    with aws_boundary(WHERE):
        return _use(run, "AWS's last accessed information", lambda name: _told_by_aws(run.aws, name, age_seconds=age))


def keep_permission_use(run: Run) -> None:
    """Keep what the embedded AWS recorded for the report; AWS tells it hours later (`kennel iam used`).

    Raises:
        AwsFailed: IAM refused, or did not answer.
    """
    found = recorded_use(run) if run.settings.permissions_token is not None else None
    if found is not None:
        run.keep(found)


def recorded_use(run: Run) -> PermissionUse | None:
    """Return what the embedded AWS recorded of the existing roles of a run; None if there is no such record.

    Raises:
        AwsFailed: IAM refused, or did not answer.
    """
    names = [name for name, _ in _granted(run)]
    query = "&".join(f"owner={quote(_arn(run.aws, name))}" for name in names)
    answer = ask_embedded_aws(run.settings, f"{LOCAL_PERMISSIONS_PATH}?{query}", token=run.settings.permissions_token)
    if answer is None:
        return None
    idle = role_name(run.id, "notebook")

    def told(name: str) -> Told:
        uses = answer["owners"].get(_arn(run.aws, name), {}).get("uses", {})
        asked = {action: Asked(use["allowed"], use["denied"], use["last"]) for action, use in uses.items()}
        return Told(asked, None, "localaws runs no notebooks") if name == idle else Told(asked, Asked())

    with aws_boundary(WHERE):
        return _use(run, "localaws's record of all requests", told)


@contextmanager
def policies_on_trial(run: Run, policies: Mapping[str, Policy]) -> Iterator[None]:
    """Set policies of roles, and set the former ones again when the block is left by an error or a signal.

    Raises:
        AwsFailed: IAM refused, or did not answer.
    """
    iam = run.aws.client("iam")
    with aws_boundary(WHERE):
        former = {name: policy for name in policies if (policy := role_policy(iam, name)) is not None}
    try:
        with aws_boundary(WHERE):
            for name in former:
                put_policy(iam, name, policies[name])
        yield
    except BaseException:
        with aws_boundary(WHERE):
            for name, policy in former.items():
                put_policy(iam, name, policy)
        say(f"the former policies are back: {', '.join(former)}")
        raise


def action_uses(role: str, policy: Policy, told: Told) -> Iterator[ActionUse]:
    """Yield a row for each action that a policy grants, and for each other one that the role asked for in vain."""
    granted = dict.fromkeys(action for each in many(policy.get("Statement")) for action in many(each.get("Action")))
    for action in granted:
        asked = told.actions.get(action, told.others)
        state = _state(action, asked)
        note = told.note if state == "unknown" else NOT_EXERCISED[action] if state == "not exercised" else ""
        yield _row(role, action, state, asked, note)
    for action, asked in told.actions.items():
        if action not in granted and asked.denied:
            yield _row(role, action, "denied", asked, "not granted")


def tightened_policies(run: Run, use: PermissionUse) -> dict[str, Policy]:
    """Return the policy without its unused actions of each role that has such.

    Raises:
        AwsFailed: IAM refused, or did not answer.
    """
    unused = {(row.role, row.action) for row in use.rows if row.state == "unused"}
    wanted = {
        name: tightened(policy, {each for role, each in unused if role == name}) for name, policy in _granted(run)
    }
    return {name: policy for name, policy in wanted.items() if any(role == name for role, _ in unused)}


def tightened(policy: Policy, unused: Collection[str]) -> Policy:
    """Return a policy without the unused actions; a statement without any action left is dropped."""
    reduced = (
        {**each, "Action": [name for name in many(each.get("Action")) if name not in unused]}
        for each in many(policy.get("Statement"))
    )
    return {**policy, "Statement": [each for each in reduced if each["Action"]]}


def _use(run: Run, source: str, told_of: Callable[[str], Told]) -> PermissionUse:
    rows = [row for name, policy in _granted(run) for row in action_uses(name, policy, told_of(name))]
    return without(PermissionUse(source, tuple(rows)), _taken_away(run))


def without(use: PermissionUse, taken: Iterable[ActionUse]) -> PermissionUse:
    """Return the use of permissions with those of the actions as taken away that are not granted any more."""
    granted = {(row.role, row.action) for row in use.rows}
    gone = dict.fromkeys(row for row in (*use.taken_away, *taken) if (row.role, row.action) not in granted)
    return replace(use, taken_away=tuple(gone))


def _taken_away(run: Run) -> tuple[ActionUse, ...]:
    """Return what the run's record says was taken away; a record that cannot be read is written anew."""
    try:
        kept = run.find(PermissionUse)
    except LedgerRefused:
        return ()
    return () if kept is None else kept.taken_away


def _granted(run: Run) -> list[tuple[str, Policy]]:
    """Return the existing roles of a run with kennel's policy in each."""
    iam = run.aws.client("iam")
    names = sorted({row.name for row in run.ledger.live() if row.kind == "role"})
    with aws_boundary(WHERE):
        found = [(name, role_policy(iam, name)) for name in names]
    return [(name, policy) for name, policy in found if policy is not None]


def _told_by_aws(aws: Aws, name: str, *, age_seconds: float) -> Told:
    """Ask AWS for its report on a role; what it has not seen of a run of the last hours is unknown."""
    rows = list(_services(aws, name))
    actions = {
        f"{row['ServiceNamespace']}:{each['ActionName']}": each
        for row in rows
        for each in row.get("TrackedActionsLastAccessed", ())
    }
    asked = {
        action: Asked(None, 0, last.isoformat()) if (last := each.get("LastAccessedTime")) else Asked()
        for action, each in actions.items()
    }
    if age_seconds < TOLD_WITHIN_SECONDS:
        seen = {action: each for action, each in asked.items() if each.last}
        return Told(seen, None, "the run is younger than 4 hours, within which AWS tells a use, or AWS does not tell")
    return Told(asked, None, "AWS does not tell when this action was used last")


def _services(aws: Aws, name: str) -> Iterator[Mapping[str, Any]]:
    iam = aws.client("iam")
    job = iam.generate_service_last_accessed_details(Arn=_arn(aws, name), Granularity="ACTION_LEVEL")["JobId"]

    def probe() -> tuple[Mapping[str, Any] | None, str]:
        page = iam.get_service_last_accessed_details(JobId=job)
        if page["JobStatus"] == "FAILED":
            error = page.get("Error", {})
            raise StageFailed(WHERE, f"AWS's report on role {name} failed", str(error), "kennel iam used <run>")
        return (page if page["JobStatus"] == "COMPLETED" else None), page["JobStatus"]

    page = wait_for(aws.target, f"AWS's report on role {name}", probe, deadline_seconds=REPORT_SECONDS)
    bounds = PageBounds()
    yield from page["ServicesLastAccessed"]
    while page.get("IsTruncated") and (marker := page.get("Marker")):
        bounds.check(iam, "get_service_last_accessed_details", {"Marker": marker})
        page = bounds.timed(lambda: iam.get_service_last_accessed_details(JobId=job, Marker=marker))
        yield from page["ServicesLastAccessed"]


def _state(action: str, asked: Asked | None) -> State:
    if asked is not None and asked.denied:
        return "denied"
    if asked is not None and asked.allowed != 0:
        return "used"
    if action in NOT_EXERCISED:
        return "not exercised"
    return "unknown" if asked is None or "*" in action or "?" in action else "unused"


def _row(role: str, action: str, state: State, asked: Asked | None, note: str) -> ActionUse:
    if asked is None:
        return ActionUse(role, action, state, note=note)
    return ActionUse(role, action, state, asked.allowed, asked.denied, asked.last, note)


def _arn(aws: Aws, name: str) -> str:
    return aws.arn("iam", f"role/{name}")
