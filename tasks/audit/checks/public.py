"""Buckets that are public, and functions that anybody, or any customer of a service, may invoke."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.audit.account import Account, Bucket, FunctionPolicy
from tasks.audit.findings import Finding, finding
from tasks.audit.policy import CALLERS, SOURCES, Statement, trusted
from tasks.run.command_line import aws_command

_ACL_OF_ALL = ("/global/AllUsers", "/global/AuthenticatedUsers")
_SET_BLOCK = "s3api put-public-access-block"
_BLOCK = ",".join(
    f"{name}=true" for name in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
)


def check(account: Account) -> Iterator[Finding]:
    """Yield the findings about buckets and functions."""
    for bucket in account.buckets:
        yield from _bucket(bucket, f"arn:{account.partition}:s3:::{bucket.name}")
    for policy in account.functions:
        yield from _function(account, policy)


def _bucket(bucket: Bucket, arn: str) -> Iterator[Finding]:
    opened = [each for each, _, value in trusted(bucket.document, CALLERS) if value == "*"]
    actions = [action for each in opened for action in each.actions or ("all actions but some",)]
    by_acl = [uri for uri in bucket.grantees if uri.endswith(_ACL_OF_ALL)]
    if actions or by_acl:
        by = [f"its policy allows everybody {', '.join(dict.fromkeys(actions))}"] if actions else []
        by += [f"its ACL names {', '.join(dict.fromkeys(uri.rpartition('/')[2] for uri in by_acl))}"] if by_acl else []
        where = {"bucket": bucket.name, "public_access_block_configuration": _BLOCK}
        yield finding("bucket-public", arn, bucket.name, "; ".join(by), aws_command(_SET_BLOCK, **where))


def _function(account: Account, policy: FunctionPolicy) -> Iterator[Finding]:
    where = {"region": policy.region, "function_name": policy.name}
    where |= {"qualifier": policy.qualifier} if policy.qualifier else {}
    for each, _, value in trusted(policy.document, CALLERS):
        if value == "*" and policy.arn in each.resources:
            shown = f"statement {each.sid} of {policy.name}'s policy allows everybody {', '.join(each.actions)}"
            kind = "function-url-public" if _is_of_url(each) else "function-public"
            yield finding(kind, policy.arn, policy.name, shown, _remove(where, each))
    for each, kind, value in trusted(policy.document, SOURCES):
        if kind == "Service" and policy.arn in each.resources:
            shown = f"statement {each.sid} of {policy.name}'s policy allows {value} for any customer"
            allowed = {"principal": value, "action": each.actions[0], "source_account": account.account_id}
            again = aws_command("lambda add-permission", **where, statement_id=each.sid, **allowed)
            yield finding("confused-deputy", policy.arn, policy.name, shown, _remove(where, each), again)


def _is_of_url(statement: Statement) -> bool:
    """Tell whether a statement is about calls of the function's URL only, which strangers may then make unsigned."""
    held = {(each.key, value.lower()) for each in statement.conditions for value in each.values}
    return bool(held & {("lambda:functionurlauthtype", "none"), ("lambda:invokedviafunctionurl", "true")})


def _remove(where: Mapping[str, str], statement: Statement) -> str:
    return aws_command("lambda remove-permission", **where, statement_id=statement.sid)
