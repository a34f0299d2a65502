"""Describes a run's EC2 instances: which exist, what state they are in and why, and how to log in to them.

This module changes nothing in EC2. An instance belongs to the run whose tags it carries; its name is the ClientToken
of its launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tasks.account.lookup import none_if_missing
from tasks.ec2.access import rules_of, ssh_source, tags_of
from tasks.ec2.host_key import known_host_key, login_path
from tasks.ec2.plan import USER, InstancePlan
from tasks.ec2.prices import hourly_price, table_source
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, Unreachable, WaitTimedOut, aws_boundary, error_code
from tasks.run.handle import Run
from tasks.run.numbers import whole_number
from tasks.run.records import InstanceRef
from tasks.run.statuses import INSTANCE
from tasks.run.waiting import REAL_TIME, Waiting, say, unknown_state, wait_for

if TYPE_CHECKING:
    from tasks.ssh.login import Login
    from tasks.ssh.wait import InstanceFacts

KIND = "instance"
"""The kind of a ledger row of an instance."""

VISIBLE_SECONDS = 60.0
"""How long it may take until all of EC2's servers know a new instance."""

LOST_ANSWER_SECONDS = 10.0
"""How long an instance is looked for when the answer to its launch was lost."""

LIVE = frozenset({"pending", "running"})
STOPPED = frozenset({"stopping", "stopped"})
ENDED = INSTANCE.failed
TERMINATE_SECONDS = 600.0
POLL_SECONDS = 0.25
CONSOLE_TAIL = 4000
"""How many characters of an instance's console output are shown."""


def find_instances(aws: Aws, run_id: str) -> tuple[InstanceRef, ...]:
    """Return a run's instances that have not ended, by number; `address` is "" for one that has none (yet).

    Raises:
        AwsFailed: EC2 refused.
    """
    with aws_boundary(f"instances of run {run_id}"):
        return tuple(record_of(Run(aws, run_id), found) for found in instances_of(aws, run_id))


def login(ref: InstanceRef) -> Login:
    """Return how to log in to an instance; paramiko is imported here, because that takes a third of a second."""
    from tasks.ssh.login import Login

    return Login(ref.instance_id, ref.address, ref.port, ref.user, Path(ref.login_key), ref.host_key)


def instance_facts(aws: Aws, ref: InstanceRef) -> InstanceFacts:
    """Return everything that may prevent a login to an instance: its state, address, security groups and console.

    Raises:
        AwsFailed: EC2 refused.
    """
    from tasks.ssh.wait import InstanceFacts

    try:
        return _told_facts(aws, ref)
    except MalformedAnswer as error:
        return InstanceFacts(unknown_state(error))


def _told_facts(aws: Aws, ref: InstanceRef) -> InstanceFacts:
    from tasks.ssh.wait import InstanceFacts

    with aws_boundary(f"instance {ref.instance_id}"):
        found = describe_instance(aws, ref.instance_id)
        if found is None:
            return InstanceFacts("terminated", "EC2 does not know it any more")
        return InstanceFacts(
            state=str(found["State"]["Name"]),
            state_reason=": ".join(reason_of(found)) if found["State"]["Name"] not in LIVE else None,
            address=found.get("PublicIpAddress"),
            port_open_to_us=_is_open_to_us(aws, found, ref.port),
            console_tail=_console_tail(aws, ref.instance_id),
        )


def instances_of(aws: Aws, run_id: str) -> list[Mapping[str, Any]]:
    """Return DescribeInstances' entry of every instance with a run's tags that has not ended, by number and launch.

    Raises:
        ClientError: EC2 refused.
    """
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in naming.tags(run_id).items()]
    found = [item for item in describe_instances(aws, filters) if item["State"]["Name"] not in ENDED]
    return sorted(found, key=lambda item: (number_of(item), item["LaunchTime"]))


def describe_instances(aws: Aws, filters: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Return DescribeInstances' entry of every instance that matches the filters, including those that have ended.

    Raises:
        ClientError: EC2 refused.
    """
    pages = aws.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    return [item for page in pages for reservation in page["Reservations"] for item in reservation["Instances"]]


def describe_instance(aws: Aws, instance_id: str) -> Mapping[str, Any] | None:
    """Return DescribeInstances' entry of one instance, or None when EC2 does not know it.

    Raises:
        ClientError: EC2 refused for another reason.
    """
    answer = none_if_missing(lambda: aws.client("ec2").describe_instances(InstanceIds=[instance_id]))
    held = answer["Reservations"] if answer else []
    found: list[Mapping[str, Any]] = [item for reservation in held for item in reservation["Instances"]]
    return found[0] if found else None


def number_of(found: Mapping[str, Any]) -> int:
    """Return the number of an instance among those of its run, from its tag; 0 without that tag."""
    return whole_number(tags_of(found).get(naming.NUMBER_TAG, "")) or 0


def reason_of(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return EC2's reason for an instance's state: the code and the text."""
    reason = found.get("StateReason", {})
    text = str(reason.get("Message") or found.get("StateTransitionReason") or "EC2 gave no reason")
    return str(reason.get("Code") or "no code"), text


def why_ended(aws: Aws, instance_id: str) -> str | None:
    """Return why an instance ended, or None while it has not; an instance that EC2 does not know any more has ended.

    While EC2's answer cannot be used, the instance counts as one that has not ended.

    Raises:
        AwsFailed: EC2 refused.
    """
    try:
        with aws_boundary(f"instance {instance_id}"):
            found = describe_instance(aws, instance_id)
    except MalformedAnswer as error:
        say(f"instance {instance_id}: {unknown_state(error)}")
        return None
    if found is None:
        return "EC2 does not know it any more"
    return ": ".join(reason_of(found)) if found["State"]["Name"] in ENDED else None


def wait_settled(aws: Aws, instance_id: str, waiting: Waiting = REAL_TIME) -> Mapping[str, Any]:
    """Wait until a new instance either runs or has ended, and return DescribeInstances' entry of it.

    Raises:
        WaitTimedOut: it was still pending after `ec2_launch_seconds`, or not known to EC2 after 60 s.
        ClientError: EC2 refused.
    """
    begun = waiting.clock()

    def probe() -> tuple[Mapping[str, Any] | None, str]:
        found = describe_instance(aws, instance_id)
        if found is None:
            _give_up_unknown(instance_id, waiting.clock() - begun)
            return None, "not shown by EC2 yet"
        state = str(found["State"]["Name"])
        return (found if INSTANCE.has_settled(state) else None), state

    found: Mapping[str, Any] = _wait(aws, f"instance {instance_id}", probe, aws.settings.ec2_launch_seconds, waiting)
    return found


def wait_ended(aws: Aws, instance_id: str, waiting: Waiting = REAL_TIME) -> None:
    """Wait until an instance is terminated; an instance that EC2 does not know any more counts as terminated.

    Raises:
        WaitTimedOut: it was not terminated after 600 s.
        AwsFailed: EC2 refused.
    """

    def probe() -> tuple[bool | None, str]:
        found = describe_instance(aws, instance_id)
        state = "terminated" if found is None else str(found["State"]["Name"])
        return (True if state == "terminated" else None), state

    with aws_boundary(f"instance {instance_id}"):
        _wait(aws, f"end of instance {instance_id}", probe, TERMINATE_SECONDS, waiting)


def record_of(
    run: Run,
    found: Mapping[str, Any],
    plan: InstancePlan | None = None,
    refused: tuple[str, ...] = (),
) -> InstanceRef:
    """Return the record of an instance from EC2's description of it, the plan and the record of an earlier command.

    Without an earlier record or a plan, the reason for its type is unknown and the price is the bundled table's.

    Raises:
        LedgerRefused: the earlier record or the host key's file cannot be read.
    """
    number = number_of(found)
    kept = run.find(InstanceRef, number=number)
    kept = kept if kept is not None and kept.instance_id == found["InstanceId"] else None
    is_spot = found.get("InstanceLifecycle") == "spot"
    price = hourly_price(run.aws.region, found["InstanceType"], plan.offers if plan else (), is_spot=is_spot)
    return InstanceRef(
        instance_id=str(found["InstanceId"]),
        address=str(found.get("PublicIpAddress", "")),
        private_address=str(found.get("PrivateIpAddress", "")),
        port=run.settings.ssh_port,
        user=USER,
        instance_type=str(found["InstanceType"]),
        is_spot=is_spot,
        host_key=known_host_key(run.folder, number),
        login_key=str(login_path(run.folder)),
        launched=_utc(found["LaunchTime"]),
        usd_per_hour=kept.usd_per_hour if kept else price,
        reason=kept.reason if kept else plan.reason if plan else "found by its tags; there is no record of the reason",
        refused=kept.refused if kept else refused,
        number=number,
        prices=kept.prices if kept else plan.prices if plan else table_source(run.aws.region),
    )


def _is_open_to_us(aws: Aws, found: Mapping[str, Any], port: int) -> bool | None:
    """Tell whether a security group of the instance allows TCP from our address; None when that is unknown."""
    try:
        us = IPv4Network(ssh_source(aws.settings))
    except Unreachable:
        return None
    ids = [group["GroupId"] for group in found.get("SecurityGroups", [])]
    if not ids:
        return False  # an instance that has ended is in no group, and EC2 refuses a filter without values
    groups = aws.client("ec2").describe_security_groups(Filters=[{"Name": "group-id", "Values": ids}])
    rules = [rule for group in groups["SecurityGroups"] for rule in rules_of(group)]
    return any(_allows(source, permission, us, port) for source, permission in rules)


def _allows(source: str, permission: Mapping[str, Any], us: IPv4Network, port: int) -> bool:
    is_tcp = permission["IpProtocol"] in {"tcp", "-1"}
    is_port = permission.get("FromPort", 0) <= port <= permission.get("ToPort", 65_535)
    return is_tcp and is_port and "IpRanges" in permission and us.subnet_of(IPv4Network(source))


def _console_tail(aws: Aws, instance_id: str) -> str:
    """Return the end of the console output, or the reason in brackets for types that have no live console."""
    try:
        answer = aws.client("ec2").get_console_output(InstanceId=instance_id, Latest=True)
    except ClientError as error:
        if error_code(error) not in {"UnsupportedOperation", "UnauthorizedOperation"}:
            raise
        return f"(no console: {error_code(error)})"
    return str(answer.get("Output", ""))[-CONSOLE_TAIL:]


def _give_up_unknown(instance_id: str, seconds: float) -> None:
    if seconds > VISIBLE_SECONDS:
        why = "EC2 answered the launch with this id, but it does not know the instance"
        what = f"unknown for {seconds:.0f} s"
        raise WaitTimedOut(f"instance {instance_id}", what, why, "run the same command again")


def _wait(aws: Aws, what: str, probe: Callable[[], tuple[Any, str]], seconds: float, waiting: Waiting) -> Any:
    return wait_for(
        aws.target,
        what,
        probe,
        deadline_seconds=seconds,
        poll_seconds=POLL_SECONDS,
        next_command="run the same command again, or kennel down <run> --yes",
        waiting=waiting,
    )


def _utc(stamp: datetime) -> str:
    return stamp.astimezone(UTC).isoformat()
