"""Creates, adopts or updates the Lambda function in front of the endpoint, with a version and the alias `live`.

Callers use the alias. No version is published when the alias already has the planned code and configuration. How the
alias goes from one version to the next is the caller's choice (`GoLive`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.account.lookup import function_tags, none_if_missing, refuse_foreign
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.ledger import Ledger
from tasks.run.lost_answers import carried_out, repeated_if_lost, true_or_none
from tasks.run.records import FunctionRef
from tasks.run.statuses import FUNCTION, FUNCTION_UPDATE, NOT_TOLD
from tasks.run.vpc_config import VpcConfig
from tasks.run.waiting import retry_until_known, retry_until_role_propagates, wait_for

ALIAS = "live"
FUNCTION_NAME_LIMIT = 64
RUNTIME = "python3.13"
HANDLER = "handler.handler"
FIRST_MEMORY_MB = 256
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class FunctionPlan:
    """The planned code and configuration of the function.

    `zip_sha256` is in hex. `allowed_hosts` lists the `host:port` pairs that may be loopback, `allowed_origins` the web
    pages that may call it. Without `fetches_for_anybody`, callers of a URL without authentication have nothing fetched.
    With `memory_mb` None the memory stays as a scaling plan has set it, and a new function gets `FIRST_MEMORY_MB`.
    """

    run_id: str
    endpoint_name: str
    role_name: str
    role_arn: str
    zip_path: Path
    zip_sha256: str
    allowed_hosts: tuple[str, ...] = ()
    memory_mb: int | None = None
    timeout_seconds: int = TIMEOUT_SECONDS
    max_image_bytes: int = 5 * 2**20
    fetch_timeout_seconds: float = 10.0
    deadline_seconds: float = 600.0
    vpc: VpcConfig | None = None
    allowed_origins: tuple[str, ...] = ()
    fetches_for_anybody: bool = False

    @property
    def name(self) -> str:
        """The function's name; a run has one function."""
        return function_name(self.run_id)

    @property
    def code_sha256(self) -> str:
        """The digest of the code in base64, as Lambda writes it."""
        return base64.b64encode(bytes.fromhex(self.zip_sha256)).decode()

    @property
    def configuration(self) -> dict[str, Any]:
        """The function's configuration without its code, as arguments of Lambda's calls."""
        variables = {
            "ENDPOINT_NAME": self.endpoint_name,
            "ALLOWED_HOSTS": ",".join(self.allowed_hosts),
            "MAX_IMAGE_BYTES": str(self.max_image_bytes),
            "FETCH_TIMEOUT_SECONDS": f"{self.fetch_timeout_seconds:g}",
            **({"ALLOWED_ORIGINS": ",".join(self.allowed_origins)} if self.allowed_origins else {}),
            **({"FETCH_URLS": "on"} if self.fetches_for_anybody else {}),
        }
        configuration = {
            "Role": self.role_arn,
            "Handler": HANDLER,
            "Runtime": RUNTIME,
            "Timeout": self.timeout_seconds,
            "Environment": {"Variables": variables},
            "VpcConfig": (self.vpc or VpcConfig()).function,
        }
        return configuration if self.memory_mb is None else {**configuration, "MemorySize": self.memory_mb}


@dataclass(frozen=True)
class Shift:
    """A new version of a function, in `function`, which is to take the place of the `former` one behind the alias."""

    function: FunctionRef
    former: str


GoLive = Callable[[Run, Shift], None]
"""Moves the alias wholly to the new version, or raises and leaves it with the former one."""


def at_once(run: Run, shift: Shift) -> None:
    """Move the alias to the new version for all calls.

    Raises:
        ClientError, BotoCoreError: Lambda refused, or did not answer.
    """
    point_alias(run.aws, shift.function.name, shift.function.version)


def point_alias(aws: Aws, name: str, version: str, *, others: Mapping[str, float] | None = None) -> None:
    """Have the alias lead to a version, except for the shares of the calls that `others` name by version.

    Raises:
        ClientError, BotoCoreError: Lambda refused, or did not answer.
    """
    routing = {"AdditionalVersionWeights": dict(others or {})}
    wanted = {"FunctionName": name, "Name": ALIAS, "FunctionVersion": version, "RoutingConfig": routing}
    repeated_if_lost(lambda: aws.client("lambda").update_alias(**wanted))


def other_versions(alias: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares that an alias gives to further versions, from GetAlias's answer."""
    return dict((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def function_name(run_id: str) -> str:
    """Return the name of a run's function."""
    return naming.resource_name(run_id, "classify", limit=FUNCTION_NAME_LIMIT)


def function_log_group(run_id: str) -> str:
    """Return the log group to which Lambda writes the function's output."""
    return f"/aws/lambda/{function_name(run_id)}"


def ensure_function(run: Run, plan: FunctionPlan, go_live: GoLive = at_once) -> FunctionRef:
    """Create or update the function, its version and its alias as planned; what fits already is not changed.

    Raises:
        StageFailed: an update failed; the error has Lambda's reason. Or `go_live` took the new version back.
        WaitTimedOut: an update was not over within the plan's deadline.
        OwnershipRefused: a function of that name does not have this run's tags.
        AwsFailed: Lambda refused.
    """
    with aws_boundary(f"function {plan.name}"):
        found = _own_function(run.aws, plan)
        if found is None:
            _create(run.aws, run.ledger, plan)
        else:
            run.ledger.adopt("function", plan.name, found["FunctionArn"])
            _update(run.aws, plan, found)
        current = _settled(run.aws, plan, is_new=found is None)
        return _ensure_alias(run, plan, _reference(plan, str(current["FunctionArn"])), go_live)


def _reference(plan: FunctionPlan, arn: str) -> FunctionRef:
    """Return the function without a version yet."""
    return FunctionRef(
        name=plan.name,
        arn=arn,
        version="",
        alias=ALIAS,
        alias_arn=f"{arn}:{ALIAS}",
        role_name=plan.role_name,
        role_arn=plan.role_arn,
        code_sha256=plan.zip_sha256,
        endpoint_name=plan.endpoint_name,
    )


def _own_function(aws: Aws, plan: FunctionPlan) -> Mapping[str, Any] | None:
    """Return the configuration of the run's function, or None without one; refuse a foreign one."""
    found = none_if_missing(lambda: aws.client("lambda").get_function(FunctionName=plan.name))
    if found is None:
        return None
    refuse_foreign(f"function {plan.name}", function_tags(aws, found), plan.run_id)
    configuration: Mapping[str, Any] = found["Configuration"]
    return configuration


def _create(aws: Aws, ledger: Ledger, plan: FunctionPlan) -> None:
    client = aws.client("lambda")

    def own_arn() -> str | None:
        found = _own_function(aws, plan)
        return None if found is None else str(found["FunctionArn"])

    with ledger.create("function", plan.name, own_arn) as row:
        answer = retry_until_role_propagates(
            aws.target,
            f"function {plan.name}",
            lambda: client.create_function(
                FunctionName=plan.name,
                Code={"ZipFile": plan.zip_path.read_bytes()},
                Description=f"Classifies an image by endpoint {plan.endpoint_name}",
                Tags=aws.tags(plan.run_id),
                **{"MemorySize": FIRST_MEMORY_MB, **plan.configuration},
            ),
        )
        row.identifier = answer["FunctionArn"]


def _update(aws: Aws, plan: FunctionPlan, current: Mapping[str, Any]) -> None:
    client, where = aws.client("lambda"), f"function {plan.name}"

    def is_configured() -> bool | None:
        return true_or_none(_has_configuration(client.get_function_configuration(FunctionName=plan.name), plan))

    def has_code() -> bool | None:
        now = client.get_function_configuration(FunctionName=plan.name)
        return true_or_none(now["CodeSha256"] == plan.code_sha256)

    _settled(aws, plan)
    if not _has_configuration(current, plan):
        change = partial(client.update_function_configuration, FunctionName=plan.name, **plan.configuration)
        carried_out(where, lambda: retry_until_role_propagates(aws.target, where, change), is_configured)
        _settled(aws, plan)
    if current["CodeSha256"] != plan.code_sha256:
        replace = partial(client.update_function_code, FunctionName=plan.name, ZipFile=plan.zip_path.read_bytes())
        carried_out(where, replace, has_code)


def _settled(aws: Aws, plan: FunctionPlan, *, is_new: bool = False) -> Mapping[str, Any]:
    """Wait until no update of the function is in progress, then return its configuration; a new one may show late."""
    client = aws.client("lambda")

    def probe() -> tuple[Mapping[str, Any] | None, str]:
        current: Mapping[str, Any] = client.get_function(FunctionName=plan.name)["Configuration"]
        state, update = current.get("State", NOT_TOLD), current.get("LastUpdateStatus", NOT_TOLD)
        if FUNCTION.has_failed(state) or FUNCTION_UPDATE.has_failed(update):
            why = str(current.get("LastUpdateStatusReason") or current.get("StateReason") or "Lambda gave no reason")
            logs = f"kennel logs {plan.run_id} --source function"
            what = f"its state is {state} and its last update {update}"
            raise StageFailed(f"function {plan.name}", what, why, logs)
        is_ready = FUNCTION.is_ready(state) and FUNCTION_UPDATE.is_ready(update)
        return (current if is_ready else None), f"{state}, last update {update}"

    what, limit = f"function {plan.name}", plan.deadline_seconds
    return wait_for(aws.target, what, probe, deadline_seconds=limit, poll_seconds=0.2, is_new=is_new)


def _ensure_alias(run: Run, plan: FunctionPlan, function: FunctionRef, go_live: GoLive) -> FunctionRef:
    """Have the alias lead to a version with the planned code and configuration, and return the function with both."""
    client, what = run.aws.client("lambda"), f"function {plan.name}"
    alias = none_if_missing(lambda: client.get_alias(FunctionName=plan.name, Name=ALIAS))
    if alias is not None:
        run.ledger.adopt("function-alias", f"{plan.name}:{ALIAS}", alias["AliasArn"])
        if _leads_to_planned(client, plan, alias):
            return replace(function, version=str(alias["FunctionVersion"]), alias_arn=str(alias["AliasArn"]))
    publish = partial(client.publish_version, FunctionName=plan.name, CodeSha256=plan.code_sha256)
    published = retry_until_known(run.aws.target, what, lambda: repeated_if_lost(publish))
    new = replace(function, version=str(published["Version"]))  # Lambda publishes what has not changed only once
    if alias is not None:
        go_live(run, Shift(new, former=str(alias["FunctionVersion"])))
        return replace(new, alias_arn=str(alias["AliasArn"]))
    wanted = {"FunctionName": plan.name, "Name": ALIAS, "FunctionVersion": new.version}
    with run.ledger.create("function-alias", f"{plan.name}:{ALIAS}", lambda: _alias_to(client, wanted)) as row:
        row.identifier = retry_until_known(run.aws.target, what, lambda: client.create_alias(**wanted))["AliasArn"]
    return replace(new, alias_arn=str(row.identifier))


def _leads_to_planned(client: Any, plan: FunctionPlan, alias: Mapping[str, Any]) -> bool:
    version = str(alias["FunctionVersion"])
    live = none_if_missing(lambda: client.get_function(FunctionName=plan.name, Qualifier=version))
    return live is not None and _is_planned(live["Configuration"], plan) and not other_versions(alias)


def _alias_to(client: Any, wanted: Mapping[str, str]) -> str | None:
    """Return the ARN of the alias if it points to the wanted version, else None."""
    name = {"FunctionName": wanted["FunctionName"], "Name": wanted["Name"]}
    found = none_if_missing(lambda: client.get_alias(**name))
    return str(found["AliasArn"]) if found and found["FunctionVersion"] == wanted["FunctionVersion"] else None


def _is_planned(configuration: Mapping[str, Any], plan: FunctionPlan) -> bool:
    return configuration["CodeSha256"] == plan.code_sha256 and _has_configuration(configuration, plan)


def _has_configuration(configuration: Mapping[str, Any], plan: FunctionPlan) -> bool:
    wanted = dict(plan.configuration)
    variables, network = wanted.pop("Environment")["Variables"], wanted.pop("VpcConfig")
    same = all(configuration.get(name) == value for name, value in wanted.items())
    found = configuration.get("VpcConfig") or {}  # which also has the VPC's id
    in_place = all(sorted(found.get(name, [])) == sorted(value) for name, value in network.items())
    return same and in_place and configuration.get("Environment", {}).get("Variables", {}) == variables
