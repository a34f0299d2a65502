"""Sets a function's memory, reserved concurrency and the provisioned concurrency of its alias, and waits for them.

What fits already is not changed. The account's limits are checked first. A change of memory publishes a version and
moves the alias, which keeps its provisioned concurrency. `tasks.scaling.plan` decides the numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from tasks.run.aws import Aws
from tasks.run.errors import LimitReached, SettingsRefused, StageFailed, aws_boundary, error_code, is_not_found
from tasks.run.handle import Run
from tasks.run.lost_answers import carried_out, repeated_if_lost, true_or_none
from tasks.run.records import FunctionRef
from tasks.run.statuses import FUNCTION_UPDATE, NOT_TOLD, PROVISIONED
from tasks.run.waiting import say, wait_for
from tasks.scaling.choice import ScalingPlan
from tasks.scaling.rules import UNRESERVED_MINIMUM, Limits, unreserved_minimum
from tasks.serving.function import point_alias
from tasks.serving.public_url import NONE

KIND = "provisioned-concurrency"
_SERVED = ("CodeSha256", "Handler", "Runtime", "Role", "Timeout", "Environment", "VpcConfig")
_NOTHING_PROVISIONED = "ProvisionedConcurrencyConfigNotFoundException"


@dataclass(frozen=True)
class ConcurrencyPlan:
    """The planned memory and concurrency of a function. `reserved` None means no reservation.

    Raises (constructing):
        SettingsRefused: a number is out of Lambda's bounds, more is provisioned than reserved, or more is reserved
            than the ceiling of a URL that is open to anybody.
    """

    function: FunctionRef
    memory_mb: int
    reserved: int | None
    provisioned: int
    deadline_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Refuse numbers that Lambda would refuse."""
        where = f"concurrency of {self.function.name}"
        if not 128 <= self.memory_mb <= 10_240:
            why = "Lambda functions have 128 to 10,240 MB"
            raise SettingsRefused(where, f"memory_mb={self.memory_mb}", why, "choose other values by --set")
        if self.provisioned < 0 or (self.reserved is not None and self.reserved < 1):
            what = f"reserved={self.reserved}, provisioned={self.provisioned}"
            why = "neither can be negative, and a reservation of 0 throttles every call"
            raise SettingsRefused(where, what, why, "choose other values by --set")
        if self.reserved is not None and self.provisioned > self.reserved:
            what = f"provisioned={self.provisioned} > reserved={self.reserved}"
            why = "provisioned concurrency is a part of the reserved concurrency"
            raise SettingsRefused(where, what, why, f"reserve at least {self.provisioned}")
        ceiling = self.function.url_ceiling
        if ceiling is not None and self.reserved is not None and self.reserved > ceiling:
            why = f"its URL is open to anybody, and {ceiling} executions were confirmed as the most"
            raise SettingsRefused(where, f"reserved={self.reserved}", why, "deploy with a larger --public-concurrency")

    @property
    def provisioned_name(self) -> str:
        """The name of the provisioned concurrency in the ledger: function and alias."""
        return f"{self.function.name}:{self.function.alias}"


@dataclass(frozen=True)
class ConcurrencyState:
    """The memory and concurrency that Lambda has for a function.

    `reserved` is None without a reservation. `status` is that of the provisioned concurrency, None without one.
    `unreserved` is the account's concurrency for functions without a reservation.
    """

    memory_mb: int
    version: str
    reserved: int | None
    provisioned: int
    available: int
    status: str | None
    status_reason: str | None
    account_limit: int
    unreserved: int


def plan_concurrency(function: FunctionRef, plan: ScalingPlan) -> ConcurrencyPlan:
    """Return the function's part of a scaling plan, in which 0 reserved executions mean no reservation.

    A function whose URL is open to anybody gets no more than the ceiling that was confirmed.

    Raises:
        SettingsRefused: a number is out of Lambda's bounds, or more is provisioned than reserved.
    """
    reserved, provisioned = plan.count("reserved_concurrency") or None, plan.count("provisioned_concurrency")
    ceiling = function.url_ceiling
    if ceiling is not None:
        _say_if_above(ceiling, reserved, provisioned)
        reserved, provisioned = min(reserved or ceiling, ceiling), min(provisioned, ceiling)
    elif function.url_auth_type == NONE:  # a record without the ceiling: what is reserved stays
        reserved = None
    return ConcurrencyPlan(
        function=function, memory_mb=plan.count("function_memory"), reserved=reserved, provisioned=provisioned
    )


def _say_if_above(ceiling: int, reserved: int | None, provisioned: int) -> None:
    if max(reserved or 0, provisioned) > ceiling:
        say(
            f"plan: {reserved or 'no'} executions reserved and {provisioned} provisioned become at most {ceiling}, "
            "because the function's URL is open to anybody (--public-concurrency)"
        )


def account_limits(aws: Aws, function: FunctionRef | None = None) -> Limits:
    """Return the account's Lambda concurrency for `plan_scaling`, without the reservation of `function` itself.

    Raises:
        AwsFailed: Lambda refused.
    """
    client = aws.client("lambda")
    with aws_boundary("Lambda's account limits"):
        limit = client.get_account_settings()["AccountLimit"]
        own = _reserved(client, function.name) if function else None
    total, unreserved = int(limit["ConcurrentExecutions"]), int(limit["UnreservedConcurrentExecutions"])
    taken = total - unreserved - (own or 0)
    return Limits(total, reserved_by_others=max(0, taken), source="GetAccountSettings")


def ensure_concurrency(run: Run, plan: ConcurrencyPlan) -> tuple[FunctionRef, ConcurrencyState]:
    """Set memory, reserved and provisioned concurrency as planned and wait until they are ready.

    Returns the function, which has a new version after a change of memory, and the state in Lambda.

    Raises:
        LimitReached: too few executions would stay unreserved in the account; nothing was changed.
        SettingsRefused: another memory is planned, and the function's newest code is not what serves.
        StageFailed: Lambda could not provision, or an update of the function failed; the error has Lambda's reason.
        WaitTimedOut: the concurrency was not ready at the plan's deadline.
        AwsFailed: Lambda refused.
    """
    with aws_boundary(f"concurrency of {plan.function.name}"):
        state = _describe(run.aws, plan.function)
        _check_account(plan, state)
        if state.memory_mb != plan.memory_mb:
            _set_memory(run.aws, plan)
        # Lambda refuses provisioned concurrency above the reservation, at every step of the change.
        is_shrinking = plan.reserved is not None and plan.reserved < state.provisioned
        parts = (_set_provisioned, _set_reserved) if is_shrinking else (_set_reserved, _set_provisioned)
        for part in parts:
            part(run, plan, state)
        _wait_until_ready(run.aws, plan)
        state = _describe(run.aws, plan.function)
    return dataclasses.replace(plan.function, version=state.version), state


def describe_concurrency(aws: Aws, function: FunctionRef) -> ConcurrencyState:
    """Return the memory and concurrency that Lambda has for a function and its alias.

    Raises:
        NotFound: the function or its alias does not exist.
        AwsFailed: Lambda refused.
    """
    with aws_boundary(f"concurrency of {function.name}"):
        return _describe(aws, function)


def remove_provisioned(run: Run, function: FunctionRef) -> None:
    """Delete an alias's provisioned concurrency, if it has any. Provisioned concurrency costs money by the hour.

    Raises:
        AwsFailed: Lambda refused.
    """
    with aws_boundary(f"provisioned concurrency of {function.name}"):
        if _provisioned(run.aws, function) is not None:
            _unprovision(run.aws, function)
            run.ledger.mark_removed(KIND, f"{function.name}:{function.alias}")


def _check_account(plan: ConcurrencyPlan, state: ConcurrencyState) -> None:
    """Refuse a plan that Lambda would refuse, before anything is changed.

    Without a reservation, provisioned concurrency comes out of the unreserved pool.
    """
    had = state.reserved if state.reserved is not None else state.provisioned
    takes = plan.reserved if plan.reserved is not None else plan.provisioned
    left, minimum = state.unreserved + had - takes, unreserved_minimum(state.account_limit)
    if left < minimum and takes > had:
        what = f"{takes} executions would leave {left} of {state.account_limit} unreserved"
        why = f"Lambda keeps {minimum} executions for functions without a reservation"
        most = max(0, takes - (minimum - left))
        quota = UNRESERVED_MINIMUM + state.account_limit - left
        choose = f"plan with at most {most}, or request a concurrency quota of {quota}"
        raise LimitReached(f"concurrency of {plan.function.name}", what, why, choose, "InvalidParameterValueException")


def _set_memory(aws: Aws, plan: ConcurrencyPlan) -> None:
    """Change the memory, publish a version with it and point the alias to that version."""
    client, name = aws.client("lambda"), plan.function.name
    _settled(aws, plan)
    _require_served(client, plan)
    change = partial(client.update_function_configuration, FunctionName=name, MemorySize=plan.memory_mb)
    now = partial(client.get_function_configuration, FunctionName=name)
    carried_out(f"memory of {name}", change, lambda: true_or_none(now()["MemorySize"] == plan.memory_mb))
    _settled(aws, plan)
    version = repeated_if_lost(lambda: client.publish_version(FunctionName=name))["Version"]
    point_alias(aws, name, version)


def _require_served(client: Any, plan: ConcurrencyPlan) -> None:
    """Refuse to publish code that is not what serves: a new version that was taken back is still the newest code."""
    name = plan.function.name
    newest = client.get_function_configuration(FunctionName=name)
    live = client.get_function_configuration(FunctionName=name, Qualifier=plan.function.alias)
    other = [each for each in _SERVED if newest.get(each) != live.get(each)]
    if other:
        why = f"that publishes the newest code, which differs in {', '.join(other)} from what serves"
        deploys = f"kennel run, which deploys it; or --set function_memory={live['MemorySize']}, which keeps the memory"
        raise SettingsRefused(f"concurrency of {name}", f"memory_mb={plan.memory_mb}", why, deploys)


def _settled(aws: Aws, plan: ConcurrencyPlan) -> None:
    client = aws.client("lambda")

    def probe() -> tuple[bool | None, str]:
        current = client.get_function_configuration(FunctionName=plan.function.name)
        update = current.get("LastUpdateStatus", NOT_TOLD)
        if FUNCTION_UPDATE.has_failed(update):
            why = str(current.get("LastUpdateStatusReason") or "Lambda gave no reason")
            where = f"function {plan.function.name}"
            raise StageFailed(where, "its last update failed", why, "kennel logs --source function")
        return (True if FUNCTION_UPDATE.is_ready(update) else None), f"last update {update}"

    what = f"function {plan.function.name}"
    wait_for(aws.target, what, probe, deadline_seconds=plan.deadline_seconds, poll_seconds=0.2)


def _set_reserved(run: Run, plan: ConcurrencyPlan, state: ConcurrencyState) -> None:
    client, name = run.aws.client("lambda"), plan.function.name
    is_public = plan.function.url_auth_type == NONE
    if state.reserved == plan.reserved or (plan.reserved is None and is_public):
        return  # a URL that is open to anybody keeps its ceiling
    if plan.reserved is None:
        repeated_if_lost(lambda: client.delete_function_concurrency(FunctionName=name))
    else:
        wanted = {"FunctionName": name, "ReservedConcurrentExecutions": plan.reserved}
        repeated_if_lost(lambda: client.put_function_concurrency(**wanted))


def _set_provisioned(run: Run, plan: ConcurrencyPlan, state: ConcurrencyState) -> None:
    client, alias = run.aws.client("lambda"), _alias(plan.function)
    if state.status is not None:
        run.ledger.adopt(KIND, plan.provisioned_name)
    if plan.provisioned == 0:
        if state.status is not None:
            _unprovision(run.aws, plan.function)
            run.ledger.mark_removed(KIND, plan.provisioned_name)
    elif state.provisioned != plan.provisioned or PROVISIONED.has_failed(str(state.status)):
        wanted = {**alias, "ProvisionedConcurrentExecutions": plan.provisioned}
        put = partial(repeated_if_lost, partial(client.put_provisioned_concurrency_config, **wanted))
        if state.status is not None:
            put()
            return
        with run.ledger.create(KIND, plan.provisioned_name, None):
            put()


def _unprovision(aws: Aws, function: FunctionRef) -> None:
    delete = partial(aws.client("lambda").delete_provisioned_concurrency_config, **_alias(function))
    provisioned_or_none(partial(repeated_if_lost, delete))


def _wait_until_ready(aws: Aws, plan: ConcurrencyPlan) -> None:
    if plan.provisioned == 0:
        return

    def probe() -> tuple[bool | None, str]:
        found = _provisioned(aws, plan.function)
        if found is None:
            return None, "not provisioned yet"
        status = found["Status"]
        where, ready = (
            f"provisioned concurrency of {plan.provisioned_name}",
            found.get("AvailableProvisionedConcurrentExecutions", 0),
        )
        if PROVISIONED.has_failed(status):
            why = str(found.get("StatusReason") or "Lambda gave no reason")
            raise StageFailed(where, f"its status is {status} with {ready} ready", why, "kennel logs --source function")
        is_ready = (
            PROVISIONED.is_ready(status) and found["RequestedProvisionedConcurrentExecutions"] == plan.provisioned
        )
        return (True if is_ready else None), f"{status}, {ready} of {plan.provisioned} ready"

    what = f"provisioned concurrency of {plan.provisioned_name}"
    wait_for(aws.target, what, probe, deadline_seconds=plan.deadline_seconds, poll_seconds=0.2)


def _describe(aws: Aws, function: FunctionRef) -> ConcurrencyState:
    client = aws.client("lambda")
    limit = client.get_account_settings()["AccountLimit"]
    live = client.get_function_configuration(FunctionName=function.name, Qualifier=function.alias)
    found = _provisioned(aws, function) or {}
    return ConcurrencyState(
        memory_mb=live["MemorySize"],
        version=live["Version"],
        reserved=_reserved(client, function.name),
        provisioned=found.get("RequestedProvisionedConcurrentExecutions", 0),
        available=found.get("AvailableProvisionedConcurrentExecutions", 0),
        status=found.get("Status"),
        status_reason=found.get("StatusReason"),
        account_limit=limit["ConcurrentExecutions"],
        unreserved=limit["UnreservedConcurrentExecutions"],
    )


def _reserved(client: Any, name: str) -> int | None:
    answer = client.get_function_concurrency(FunctionName=name)
    reserved: int | None = answer.get("ReservedConcurrentExecutions")
    return reserved


def _provisioned(aws: Aws, function: FunctionRef) -> Mapping[str, Any] | None:
    client = aws.client("lambda")
    return provisioned_or_none(lambda: client.get_provisioned_concurrency_config(**_alias(function)))


def provisioned_or_none(call: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the answer of a call about provisioned concurrency, None when there is none or its alias is gone.

    Raises:
        ClientError: Lambda refused for another reason.
    """
    try:
        return call()
    except ClientError as error:
        if error_code(error) == _NOTHING_PROVISIONED or is_not_found(error):
            return None
        raise


def _alias(function: FunctionRef) -> dict[str, str]:
    return {"FunctionName": function.name, "Qualifier": function.alias}
