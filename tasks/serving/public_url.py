"""Gives the function's alias a URL, changes it or takes it away: signed requests only, or open to anybody.

A URL that is open to anybody is made last, after its ceiling: reserved concurrency bounds what strangers can cost. AWS
lets them call only when the function's policy has both statements (since October 2025). A teardown removes all. The
run's record of the function has the ceiling, so that a reservation of a scaling plan is not taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.lookup import none_if_missing
from tasks.account.policy_documents import NotAPolicy, many, read_policy
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, SpendingRefused, aws_boundary, error_code
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.options import DeployOptions
from tasks.run.records import FunctionRef
from tasks.run.waiting import retry_until_known, say

KIND = "function-url"
AWS_IAM, NONE = "AWS_IAM", "NONE"
AUTH_TYPES = {"iam": AWS_IAM, "none": NONE}
_EXISTS = "ResourceConflictException"
STATEMENTS: Mapping[str, Mapping[str, Any]] = {
    "kennel-public-url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": NONE},
    "kennel-public-invoke": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}
"""By their ids, the statements with which anybody may call a URL.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""


@dataclass(frozen=True)
class UrlPlan:
    """A planned URL: who may call it, the web pages that may, and for anybody its ceiling of executions at once."""

    auth_type: str
    origins: tuple[str, ...] = ()
    reserved: int | None = None

    @property
    def cors(self) -> dict[str, Any]:
        """Its CORS as Lambda's argument; an empty one allows no page."""
        if not self.origins:
            return {}
        headers = ["authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]
        allowed = {"AllowOrigins": list(self.origins), "AllowMethods": ["GET", "POST"], "AllowHeaders": headers}
        return {**allowed, "ExposeHeaders": ["retry-after"], "MaxAge": 600}


def require_confirmed(deploy: DeployOptions) -> None:
    """Return unless a URL for anybody is asked for and was not confirmed.

    Raises:
        SpendingRefused: it was not.
    """
    if deploy.public_url == "none" and not deploy.confirm_public:
        why = "anybody on the internet could run the function at your cost, and it was not confirmed"
        signed = "confirm it by --confirm-public, or use --public-url iam, which takes signed requests only"
        raise SpendingRefused("function URL", "--public-url none", why, signed)


def plan_url(deploy: DeployOptions) -> UrlPlan | None:
    """Return the URL that the options ask for, None for none.

    Raises:
        SpendingRefused: it is for anybody and was not confirmed.
    """
    require_confirmed(deploy)
    if deploy.public_url is None:
        return None
    auth_type = AUTH_TYPES[deploy.public_url]
    return UrlPlan(auth_type, deploy.allowed_origins, deploy.public_concurrency if auth_type == NONE else None)


def ensure_url(run: Run, function: FunctionRef, plan: UrlPlan | None) -> FunctionRef:
    """Have the function's alias have the planned URL, or none; return the function with it.

    A URL that fits already is not changed.

    Raises:
        AwsFailed: Lambda refused, for example because too few executions would stay unreserved in the account.
        MalformedAnswer: the function's policy cannot be read.
    """
    name = f"{function.name}:{function.alias}"
    with aws_boundary(f"URL of function {function.name}"):
        if plan is None:
            _withdraw(run, name)
            return function
        found = find_url(run.aws, name)
        if plan.auth_type != NONE:
            _close(run, name, found)
        made = _create(run, name, plan) if found is None else _update(run, name, plan, found)
        if plan.auth_type == NONE:
            _open(run.aws, name)
    say(f"function URL {made['FunctionUrl']}: {who_may_call(plan.auth_type)}")
    return replace(function, url=str(made["FunctionUrl"]), url_auth_type=plan.auth_type, url_ceiling=plan.reserved)


def who_may_call(auth_type: str | None) -> str:
    """Return who may call a URL, in words."""
    return "open to anybody" if auth_type == NONE else "signed requests only (AWS_IAM)"


def find_url(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return the configuration of the URL of an alias, named `function:alias`, None without one.

    Raises:
        ClientError: Lambda refused.
    """
    found: Mapping[str, Any] | None = none_if_missing(
        lambda: aws.client("lambda").get_function_url_config(**_alias(name))
    )
    return found


def remove_url(aws: Aws, name: str) -> None:
    """Delete the URL of an alias, named `function:alias`, and the statements that opened it to anybody.

    Raises:
        ClientError: Lambda refused.
    """
    _forbid(aws, name)
    none_if_missing(lambda: aws.client("lambda").delete_function_url_config(**_alias(name)))


def _withdraw(run: Run, name: str) -> None:
    """Take away a URL that an earlier deployment of the run made; without one, nothing is asked of AWS."""
    if not _is_in_ledger(run, name):
        return
    _close(run, name, find_url(run.aws, name))
    remove_url(run.aws, name)
    run.ledger.mark_removed(KIND, name)
    say(f"function {name}: its URL was taken away, because --public-url was not given")


def _is_in_ledger(run: Run, name: str) -> bool:
    return any((row.kind, row.name) == (KIND, name) for row in run.ledger.live())


def _create(run: Run, name: str, plan: UrlPlan) -> Mapping[str, Any]:
    client = run.aws.client("lambda")
    wanted = {**_alias(name), "AuthType": plan.auth_type, **({"Cors": plan.cors} if plan.cors else {})}

    def own_arn() -> str | None:
        found = find_url(run.aws, name)
        return None if found is None else str(found["FunctionArn"])

    with run.ledger.create(KIND, name, own_arn) as row:
        _reserve(run, name, plan)
        create = partial(client.create_function_url_config, **wanted)
        row.identifier = str(retry_until_known(run.aws.target, f"URL of {name}", create)["FunctionArn"])
    made = find_url(run.aws, name)
    assert made is not None
    return made


def _update(run: Run, name: str, plan: UrlPlan, found: Mapping[str, Any]) -> Mapping[str, Any]:
    run.ledger.adopt(KIND, name, str(found["FunctionArn"]))
    _reserve(run, name, plan)
    if (found["AuthType"], found.get("Cors") or {}) == (plan.auth_type, plan.cors):
        return found
    wanted = {**_alias(name), "AuthType": plan.auth_type, "Cors": plan.cors}
    changed: Mapping[str, Any] = repeated_if_lost(lambda: run.aws.client("lambda").update_function_url_config(**wanted))
    return changed


def _reserve(run: Run, name: str, plan: UrlPlan) -> None:
    """Reserve the ceiling of a URL for anybody; it is in the record before, so that a failed run's is known later."""
    if plan.reserved is None:
        return
    kept = run.find(FunctionRef)
    if kept is not None and kept.url_ceiling is None:
        run.keep(replace(kept, url_ceiling=plan.reserved))
    client, function = run.aws.client("lambda"), name.partition(":")[0]
    if client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions") != plan.reserved:
        wanted = {"FunctionName": function, "ReservedConcurrentExecutions": plan.reserved}
        repeated_if_lost(lambda: client.put_function_concurrency(**wanted))
    if kept is not None:
        run.keep(replace(kept, url_ceiling=plan.reserved))


def _open(aws: Aws, name: str) -> None:
    """Let anybody call the URL; statements that are there stay."""
    for statement_id in STATEMENTS.keys() - _statement_ids(aws, name):
        wanted = {**_alias(name), "StatementId": statement_id, "Principal": "*", **STATEMENTS[statement_id]}
        try:
            aws.client("lambda").add_permission(**wanted)
        except ClientError as error:
            if error_code(error) != _EXISTS:
                raise


def _statement_ids(aws: Aws, name: str) -> set[str]:
    """Return the ids of the statements that the alias's policy has."""
    answer = none_if_missing(lambda: aws.client("lambda").get_policy(**_alias(name)))
    try:
        document = {} if answer is None else read_policy(answer["Policy"])
    except NotAPolicy as error:
        what, why = f"GetPolicy answered with what is no policy: {error}", "kennel acts only on what it can read"
        look = "look at what answers there (curl -i), then run the same command again"
        raise MalformedAnswer(f"function {name}", what, why, look, is_reading=True) from error
    return {str(each.get("Sid")) for each in many(document.get("Statement"))}


def _close(run: Run, name: str, found: Mapping[str, Any] | None) -> None:
    """Let nobody call a URL that was, or was to be, for anybody, then give back its ceiling."""
    if found is not None and found["AuthType"] == NONE:
        _forbid(run.aws, name)
    elif not _is_in_ledger(run, name):
        return
    _unreserve(run, name.partition(":")[0])


def _unreserve(run: Run, function: str) -> None:
    """Give back the ceiling, but no reservation of a scaling plan, which a function without a record cannot have."""
    kept, client = run.find(FunctionRef), run.aws.client("lambda")
    if kept is not None and kept.url_ceiling is None:
        return
    reserved = client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
    if reserved is not None and (kept is None or kept.url_ceiling == reserved):
        repeated_if_lost(lambda: client.delete_function_concurrency(FunctionName=function))


def _forbid(aws: Aws, name: str) -> None:
    remove = aws.client("lambda").remove_permission
    for statement_id in STATEMENTS:
        none_if_missing(partial(remove, StatementId=statement_id, **_alias(name)))


def _alias(name: str) -> dict[str, str]:
    function, _, alias = name.partition(":")
    return {"FunctionName": function, "Qualifier": alias}
