"""Launching EC2 instances and ending them: adopted or made once, on the first type that EC2 has, tracked by the ledger.

A launch writes its ledger row first and sends a ClientToken, so that a lost answer or a killed process leaves one
instance that the next command finds. Types that EC2 refuses are passed over and recorded. Looking at instances without
changing them is in `instance_state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tasks.ec2.access import tags_of
from tasks.ec2.plan import InstancePlan
from tasks.ec2.prices import Offer
from tasks.ec2.state import (
    ENDED,
    IN_REAL_TIME,
    LIVE,
    POLL_SECONDS,
    VISIBLE_SECONDS,
    Waiting,
    instances_of,
    number_of,
    reason_of,
    record_of,
    settled,
    wait_ended,
)
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import (
    KennelError,
    LimitReached,
    OwnershipRefused,
    StageFailed,
    TeardownIncomplete,
    aws_boundary,
    error_code,
    is_not_found,
    translate,
)
from tasks.run.handle import Run
from tasks.run.records import InstanceRef
from tasks.run.waiting import retry_until_role_propagates

KIND = "instance"
MAX_ATTEMPTS = 20
LOST_SECONDS = 10.0

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
"""What EC2 answers when another type or market may still be had."""


def launch(run: Run, plan: InstancePlan, *, waiting: Waiting = IN_REAL_TIME) -> InstanceRef:
    """Return the plan's instance, running: the one that an earlier command made, else a new one of the first type
    to be had. Its record is kept as runs/<run id>/ec2/instance-<number>.json.

    Raises:
        LimitReached: EC2 refused every type, or ended each at once; all refusals are named.
        OwnershipRefused: the run's instance was made from another plan, or is stopped.
        AccessDenied: the caller may not launch instances (asked by DryRun, before anything is made).
        WaitTimedOut: it was not running after `ec2_launch_seconds`.
        StageFailed: somebody ended it while it started, or it has no public address.
        AwsFailed: EC2 refused for a reason that no other type would change.
    """
    with aws_boundary(_where(plan)):
        attempt = _Launch(run, plan, waiting)
        found = attempt.adopted() or attempt.made()
    ref = record_of(run, found, plan, tuple(attempt.refused))
    if not ref.address:
        why = "the default VPC's subnets do not give public addresses"
        give = "aws ec2 modify-subnet-attribute --map-public-ip-on-launch --subnet-id <id>, after kennel down --yes"
        raise StageFailed(f"instance {ref.instance_id}", "it has no public address", why, give)
    run.keep(ref)
    return ref


def refuse_other_plans(aws: Aws, plans: Sequence[InstancePlan]) -> None:
    """Refuse before anything is launched what `launch` would refuse to adopt, so that it can be left as it is.

    Raises:
        OwnershipRefused: one of the run's instances was made from another plan, or is stopped.
        AwsFailed: EC2 refused to list them.
    """
    by_number = {plan.number: plan for plan in plans}
    with aws_boundary(f"instances of run {plans[0].run_id}"):
        for found in instances_of(aws, plans[0].run_id):
            if number_of(found) in by_number:
                _refuse_other(found, by_number[number_of(found)])


def wait_running(aws: Aws, instance_id: str, *, waiting: Waiting = IN_REAL_TIME) -> Mapping[str, Any]:
    """Wait until an instance runs; return what EC2 says of it.

    Raises:
        StageFailed: it ended instead; with EC2's reason.
        WaitTimedOut: it was not running after `ec2_launch_seconds`.
        AwsFailed: EC2 refused to tell.
    """
    where = f"instance {instance_id}"
    with aws_boundary(where):
        found = settled(aws, instance_id, waiting)
    if found["State"]["Name"] in ENDED:
        code, message = reason_of(found)
        raise StageFailed(where, f"it ended while it started: {code}", message, "the same command again")
    return found


def terminate(run: Run, instance_ids: Sequence[str], *, waiting: Waiting = IN_REAL_TIME) -> None:
    """Terminate instances one by one (a bad id in a common call keeps them all alive) and wait until they have ended.

    Raises:
        TeardownIncomplete: some could not be terminated; the others are gone.
    """
    failures: dict[str, KennelError] = {}
    for instance_id in instance_ids:
        with _kept_apart(failures, instance_id):
            _ask_to_end(run, instance_id, waiting)
    for instance_id in [item for item in instance_ids if item not in failures]:
        with _kept_apart(failures, instance_id):
            wait_ended(run.aws, instance_id, waiting)
    for row in run.ledger.live():
        if row.kind == KIND and row.identifier in set(instance_ids) - set(failures):
            run.ledger.mark_removed(KIND, row.name)
    if failures:
        what = "; ".join(f"{instance_id}: {error.what}: {error.why}" for instance_id, error in failures.items())
        raise TeardownIncomplete("terminate", what, "what still runs costs money", "kennel down --yes")


@contextmanager
def _kept_apart(failures: dict[str, KennelError], instance_id: str) -> Iterator[None]:
    """Note what goes wrong with one instance, so that the others are seen to all the same."""
    try:
        yield
    except KennelError as error:
        failures[instance_id] = error


def _where(plan: InstancePlan) -> str:
    return f"instance {plan.number} of run {plan.run_id}"


class _Launch:
    """One launch: its run, its plan, and what EC2 refused so far ("type market: code")."""

    def __init__(self, run: Run, plan: InstancePlan, waiting: Waiting) -> None:
        self.run, self.plan, self.waiting = run, plan, waiting
        self.refused: list[str] = []

    def adopted(self) -> Mapping[str, Any] | None:
        """Return the run's instance of that number when it lives, was made from this plan, and comes to run."""
        living = instances_of(self.run.aws, self.plan.run_id)
        found = next((item for item in living if number_of(item) == self.plan.number), None)
        if found is None:
            return None
        _refuse_other(found, self.plan)
        name, instance_id = str(found["ClientToken"]), str(found["InstanceId"])
        self.run.ledger.adopt(KIND, name, instance_id)
        return self._started(name, instance_id, f"{found['InstanceType']} adopted")

    def made(self) -> Mapping[str, Any]:
        """Return a new instance of the first offer that EC2 gives."""
        self._check_permission()
        for offer in self.plan.offers:
            found = self._try(offer)
            if found is not None:
                return found
        other = "kennel train-ec2 --instance-type <another>, or ask AWS for a higher limit"
        raise LimitReached(_where(self.plan), "EC2 has none of the types", "; ".join(self.refused), other)

    def _check_permission(self) -> None:
        """Ask by DryRun whether the caller may launch; costs nothing and makes nothing."""
        request = self.plan.request(self.plan.offers[0], "dry-run") | {"DryRun": True}
        try:
            self._send(request)
        except ClientError as error:
            if error_code(error) not in REFUSALS | {"DryRunOperation"}:  # refusals come again, offer by offer
                raise

    def _try(self, offer: Offer) -> Mapping[str, Any] | None:
        """Launch one offer and wait until it runs; None when EC2 has none of it."""
        for _ in range(MAX_ATTEMPTS):
            name = self._next_name(offer)
            try:
                with self.run.ledger.create(KIND, name) as row:
                    row.identifier = instance_id = self._run(offer, name)
            except ClientError as error:
                if error_code(error) not in REFUSALS | {"IdempotentInstanceTerminated"}:
                    raise
                self.run.ledger.mark_removed(KIND, name)
                if error_code(error) in REFUSALS:
                    self._refuse(offer.label, error_code(error), str(error))
                    return None
            else:
                return self._started(name, instance_id, offer.label)
        why = "each of their tokens belongs to an instance that was terminated"
        what = f"{MAX_ATTEMPTS} attempts at {offer.label}"
        raise StageFailed(_where(self.plan), what, why, "kennel train-ec2 --run-id <another name>")

    def _next_name(self, offer: Offer) -> str:
        """Return the next attempt's name, which is also its ClientToken (at most 64 characters).

        An attempt at the same request that may have worked unseen is made again under its name: EC2 then answers with
        the instance that it made the first time.
        """
        stem = f"{naming.resource_name(self.plan.run_id, 'ec2', str(self.plan.number))}-"
        rows = [row for row in self.run.ledger.rows() if row.kind == KIND and row.name.startswith(stem)]
        digest = self.plan.digest(offer)
        unsure = [row.name for row in rows if row.state in {"intended", "uncertain"} and row.name.endswith(digest)]
        return unsure[-1] if unsure else f"{stem}{len(rows) + 1}-{digest}"

    def _run(self, offer: Offer, name: str) -> str:
        """Send RunInstances; return the instance's id, also when only the answer was lost."""
        try:
            answer = self._send(self.plan.request(offer, name) | {"ClientToken": name})
            return str(answer["Instances"][0]["InstanceId"])
        except (ClientError, BotoCoreError) as error:
            found = None if _is_final(error) else self._made_unseen(name)
            if found is None:
                raise
            self.waiting.say(f"instance {found}: it was launched although the answer was lost")
            return found

    def _send(self, request: Mapping[str, Any]) -> Any:
        """Send RunInstances, again while EC2 does not know the new instance profile yet."""
        ec2, waiting = self.run.aws.client("ec2"), self.waiting
        where = _where(self.plan)
        return retry_until_role_propagates(
            where, lambda: ec2.run_instances(**request), clock=waiting.clock, sleep=waiting.sleep
        )

    def _made_unseen(self, token: str) -> str | None:
        """Look for an instance of that token, for a while: EC2 may not show at once what it made."""
        begun = self.waiting.clock()
        while True:
            for found in instances_of(self.run.aws, self.plan.run_id):
                if found.get("ClientToken") == token:
                    return str(found["InstanceId"])
            if self.waiting.clock() - begun > LOST_SECONDS:
                return None
            self.waiting.sleep(1.0)

    def _started(self, name: str, instance_id: str, label: str) -> Mapping[str, Any] | None:
        """Wait until it runs; None when EC2 ended it instead.

        Raises:
            StageFailed: a person or another program ended it.
        """
        found = settled(self.run.aws, instance_id, self.waiting)
        if found["State"]["Name"] not in ENDED:
            return found
        self.run.ledger.mark_removed(KIND, name)
        code, message = reason_of(found)
        if code.startswith("Client.UserInitiated"):
            again = "the same command again, once it is clear who did"
            raise StageFailed(f"instance {instance_id}", "somebody ended it while it started", message, again)
        self._refuse(label, code, message)
        return None

    def _refuse(self, label: str, code: str, message: str) -> None:
        self.refused.append(f"{label}: {code}")
        self.waiting.say(f"EC2 did not give {label}: {message}")


def _refuse_other(found: Mapping[str, Any], plan: InstancePlan) -> None:
    where, away = f"instance {found['InstanceId']}", f"kennel down {plan.run_id} --yes"
    state = found["State"]["Name"]
    if state not in LIVE:
        raise OwnershipRefused(where, f"it is {state}", f"run {plan.run_id} has it and somebody stopped it", away)
    if tags_of(found).get(naming.SPEC_TAG) != plan.spec_digest:
        why = "it was made from another plan (its kennel:spec differs), with other types or keys that are not here"
        raise OwnershipRefused(where, "it exists already", why, away)


def _is_final(error: ClientError | BotoCoreError) -> bool:
    """Tell whether EC2 refused, and so made nothing; it refuses for want of capacity with a status of 500."""
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error_code(error) in REFUSALS or 400 <= status < 500


def _ask_to_end(run: Run, instance_id: str, waiting: Waiting) -> None:
    """Tell one instance to end. One that was made a moment ago may not be known everywhere yet: it is asked again."""
    begun = waiting.clock()
    while True:
        try:
            run.aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
            return
        except (ClientError, BotoCoreError) as error:
            is_unknown = isinstance(error, ClientError) and is_not_found(error)
            if is_unknown and not _is_young(run, instance_id):
                return
            if not is_unknown or waiting.clock() - begun > VISIBLE_SECONDS:
                raise translate(error, f"terminate {instance_id}") from error
        waiting.sleep(POLL_SECONDS)


def _is_young(run: Run, instance_id: str) -> bool:
    """Tell whether this run made it less than a minute ago."""
    rows = [row for row in run.ledger.live() if row.kind == KIND and row.identifier == instance_id]
    return any(row.age_seconds < VISIBLE_SECONDS for row in rows)
