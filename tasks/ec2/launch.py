"""Launches EC2 instances on the first type that EC2 has available, or adopts those that an earlier command launched.

A launch writes its ledger row first and sends a ClientToken, so that a lost answer or a killed process leaves one
instance that the next command finds. Types that EC2 refuses are skipped and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tasks.ec2.access import tags_of
from tasks.ec2.plan import InstancePlan
from tasks.ec2.prices import Offer
from tasks.ec2.state import (
    ENDED,
    KIND,
    LOST_ANSWER_SECONDS,
    STOPPED,
    instances_of,
    number_of,
    reason_of,
    record_of,
    wait_settled,
)
from tasks.run import naming
from tasks.run.at_once import EndedWaits, at_once
from tasks.run.aws import Aws
from tasks.run.errors import (
    LimitReached,
    OwnershipRefused,
    StageFailed,
    WaitTimedOut,
    aws_boundary,
    error_code,
)
from tasks.run.handle import Run
from tasks.run.lost_answers import look_again
from tasks.run.records import InstanceRef
from tasks.run.waiting import REAL_TIME, Waiting, retry_until_role_propagates, say, wait_for

MAX_ATTEMPTS = 20

REFUSALS = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientHostCapacity",
        "UnfulfillableCapacity",
        "Unsupported",
        "InstanceLimitExceeded",
        "VcpuLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",  # the spot service's role is missing: on-demand may do
    }
)
"""The answers of EC2 after which another type or market may still be available."""


def launch(
    run: Run, plan: InstancePlan, *, waiting: Waiting = REAL_TIME, settling: Waiting | None = None
) -> InstanceRef:
    """Return the plan's instance, running: that of an earlier command, or a new one of the first available type.

    `settling` is how it is waited for once EC2 has launched it, by default as everything else.
    Its record is written to runs/<run id>/ec2/instance-<number>.json.

    Raises:
        LimitReached: EC2 refused every type, or ended each at once; the error names all refusals.
        OwnershipRefused: the run's instance was launched from another plan, or is stopped.
        AccessDenied: the caller may not launch instances (found out by DryRun, before anything is created).
        WaitTimedOut: the instance was not running after `ec2_launch_seconds`.
        StageFailed: somebody ended the instance while it started, or it has no public address.
        AwsFailed: EC2 refused for a reason that no other type would change.
    """
    with aws_boundary(_where(plan)):
        attempt = _Launch(run, plan, waiting, settling or waiting)
        found = attempt.adopt() or attempt.create()
    ref = record_of(run, found, plan, tuple(attempt.refused))
    if not ref.address:
        why = "its subnet does not assign public addresses"
        change = run.aws.cli("ec2 modify-subnet-attribute --map-public-ip-on-launch", subnet_id="<id>")
        give = f"{change}; then kennel down {run.id} --yes, and the same command again"
        raise StageFailed(f"instance {ref.instance_id}", "it has no public address", why, give)
    run.keep(ref)
    return ref


def launch_all(
    run: Run, plans: Sequence[InstancePlan], *, note: Callable[[InstanceRef], None] = lambda _: None
) -> list[InstanceRef]:
    """Return the plans' instances, launched at the same time; `note` is told each that runs.

    After an error the others are not waited for until they run. Each launch comes to its answer, so that its ledger
    row has the instance.

    Raises:
        KennelError: the kinds that `launch` names, of the plan that failed first.
    """
    waits = EndedWaits()

    def one(plan: InstancePlan) -> InstanceRef:
        ref = launch(run, plan, settling=waits.waiting)
        note(ref)
        return ref

    say(f"EC2: launching {len(plans)} × {plans[0].offers[0].label} ({plans[0].reason})")
    return at_once(plans, one, end_others=waits.end)


def refuse_other_plans(aws: Aws, plans: Sequence[InstancePlan], *, numbers: Container[int] | None = None) -> None:
    """Check that `launch` could adopt the run's instances, before anything is launched or terminated.

    With `numbers`, an instance that has none of them is refused too: it was launched for something else.

    Raises:
        OwnershipRefused: one of the run's instances was launched from another plan, or is stopped.
        AwsFailed: EC2 refused to list them.
    """
    by_number = {plan.number: plan for plan in plans}
    with aws_boundary(f"instances of run {plans[0].run_id}"):
        for found in instances_of(aws, plans[0].run_id):
            is_foreign = numbers is not None and number_of(found) not in numbers
            if number_of(found) in by_number or is_foreign:
                _refuse_other_plan(found, by_number.get(number_of(found), plans[0]))


def _where(plan: InstancePlan) -> str:
    return f"instance {plan.number} of run {plan.run_id}"


class _Launch:
    """One launch: its run, its plan, and the refusals of EC2 so far ("type market: code")."""

    def __init__(self, run: Run, plan: InstancePlan, waiting: Waiting, settling: Waiting) -> None:
        self.run, self.plan, self.waiting, self.settling = run, plan, waiting, settling
        self.refused: list[str] = []

    def adopt(self) -> Mapping[str, Any] | None:
        """Return the run's instance of that number once it runs; None when there is none, or when EC2 ended it."""
        living = instances_of(self.run.aws, self.plan.run_id)
        found = next((item for item in living if number_of(item) == self.plan.number), None)
        if found is None:
            return None
        _refuse_other_plan(found, self.plan)
        instance_id = str(found["InstanceId"])
        name = str(found.get("ClientToken") or instance_id)
        self.run.ledger.adopt(KIND, name, instance_id)
        return self._started(name, instance_id, f"{found['InstanceType']} adopted")

    def create(self) -> Mapping[str, Any]:
        """Return a new instance of the first offer that EC2 accepts."""
        self._check_permission()
        for offer in self.plan.offers:
            found = self._try(offer)
            if found is not None:
                return found
        other = "run the same command with --instance-type <another>, or ask AWS for a higher limit"
        raise LimitReached(_where(self.plan), "EC2 has none of the types", "; ".join(self.refused), other)

    def _check_permission(self) -> None:
        """Ask by DryRun whether the caller may launch; this creates nothing and costs nothing."""
        request = self.plan.request(self.plan.offers[0], "dry-run") | {"DryRun": True}
        try:
            self._send(request)
        except ClientError as error:
            if error_code(error) not in REFUSALS | {"DryRunOperation"}:  # each offer's launch meets its own refusal
                raise

    def _try(self, offer: Offer) -> Mapping[str, Any] | None:
        """Launch one offer and wait until the instance runs; return None when EC2 has none available."""
        for _ in range(MAX_ATTEMPTS):
            name = self._next_name(offer)
            try:
                with self.run.ledger.create(KIND, name, None) as row:
                    row.identifier = instance_id = self._run(offer, name)
            except ClientError as error:
                if error_code(error) not in REFUSALS | {"IdempotentInstanceTerminated"}:
                    raise
                self.run.ledger.mark_removed(KIND, name)
                if error_code(error) in REFUSALS:
                    self._note_refusal(offer.label, error_code(error), str(error))
                    return None
            else:
                return self._started(name, instance_id, offer.label)
        why = "each attempt's token belongs to an instance that was terminated"
        what = f"{MAX_ATTEMPTS} attempts at {offer.label}"
        raise StageFailed(_where(self.plan), what, why, "run the same command again, which takes further tokens")

    def _next_name(self, offer: Offer) -> str:
        """Return the next attempt's name, which is also its ClientToken (at most 64 characters).

        An earlier attempt at the same request, whose outcome is unknown, is repeated under its name: if it succeeded,
        EC2 answers with the instance that it launched then.
        """
        stem = f"{naming.resource_name(self.plan.run_id, 'ec2', str(self.plan.number))}-"
        rows = [row for row in self.run.ledger.rows() if row.kind == KIND and row.name.startswith(stem)]
        digest = self.plan.digest(offer)
        unknown = [row.name for row in rows if row.state in {"intended", "uncertain"} and row.name.endswith(digest)]
        return unknown[-1] if unknown else f"{stem}{len(rows) + 1}-{digest}"

    def _run(self, offer: Offer, name: str) -> str:
        """Send RunInstances and return the instance's id, also when only the answer was lost.

        EC2 refuses many launches, and after a refusal nobody needs to look for an instance that is not shown yet.
        """
        try:
            answer = self._send(self.plan.request(offer, name) | {"ClientToken": name})
            return str(answer["Instances"][0]["InstanceId"])
        except (ClientError, BotoCoreError) as error:
            if _is_refusal(error):
                raise
            return look_again(error, f"instance {name}", lambda: self._find_by_token(name))

    def _send(self, request: Mapping[str, Any]) -> Any:
        """Send RunInstances, and send it again while EC2 does not know the new instance profile yet."""
        send, target = partial(self.run.aws.client("ec2").run_instances, **request), self.run.aws.target
        return retry_until_role_propagates(target, _where(self.plan), send, waiting=self.waiting)

    def _find_by_token(self, token: str) -> str | None:
        """Look for an instance of that ClientToken during 10 s, because EC2 may not show a new instance at once."""
        aws = self.run.aws

        def probe() -> tuple[str | None, str]:
            living = instances_of(aws, self.plan.run_id)
            of_token = (item for item in living if item.get("ClientToken") == token)
            return next((str(found["InstanceId"]) for found in of_token), None), "not shown by EC2"

        try:
            return wait_for(
                aws.target, f"instance {token}", probe, deadline_seconds=LOST_ANSWER_SECONDS, waiting=self.waiting
            )
        except WaitTimedOut:
            return None

    def _started(self, name: str, instance_id: str, label: str) -> Mapping[str, Any] | None:
        """Wait until an instance runs; return None when EC2 ended it instead.

        Raises:
            StageFailed: a person or another program ended it.
        """
        found = wait_settled(self.run.aws, instance_id, self.settling)
        if found["State"]["Name"] not in ENDED:
            return found
        self.run.ledger.mark_removed(KIND, name)
        code, message = reason_of(found)
        if code.startswith("Client.UserInitiated"):
            again = "find out who ended it, then run the same command again"
            raise StageFailed(f"instance {instance_id}", "somebody ended it while it started", message, again)
        self._note_refusal(label, code, message)
        return None

    def _note_refusal(self, label: str, code: str, message: str) -> None:
        self.refused.append(f"{label}: {code}")
        self.waiting.say(f"EC2 has no {label} available: {message}")


def _refuse_other_plan(found: Mapping[str, Any], plan: InstancePlan) -> None:
    where, remove = f"instance {found['InstanceId']}", f"kennel down {plan.run_id} --yes"
    state = found["State"]["Name"]
    if state in STOPPED:
        why = f"it belongs to run {plan.run_id}, and somebody stopped it"
        raise OwnershipRefused(where, f"it is {state}", why, remove)
    if tags_of(found).get(naming.SPEC_TAG) != plan.spec_digest:
        why = "it was launched from another plan (its kennel:spec differs): other types, or keys that are not here"
        raise OwnershipRefused(where, "it exists already", why, remove)


def _is_refusal(error: ClientError | BotoCoreError) -> bool:
    """Tell whether EC2 refused and so launched nothing; for lack of capacity it answers with status 500."""
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error_code(error) in REFUSALS or 400 <= status < 500
