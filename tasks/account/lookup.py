"""Look up AWS resources that may not exist, and read their tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, WaitTimedOut, is_not_found
from tasks.run.waiting import REAL_TIME, Waiting, wait_for


def none_if_missing(call: Callable[[], Any]) -> Any:
    """Return the answer of a describing call, or None when AWS answers that the resource does not exist.

    Raises:
        ClientError: AWS refused the call for another reason.
    """
    try:
        return call()
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


def shown_tags(
    aws: Aws, what: str, read: Callable[[], Mapping[str, str]], *, waiting: Waiting = REAL_TIME
) -> Mapping[str, str]:
    """Return a resource's tags; while it has none, look again for as long as AWS may show those of a new one late.

    Raises:
        ClientError: AWS refused `read`, whose answer the tags are.
    """
    tags, late_seconds = read(), aws.target.tag_delay_seconds
    if tags or not late_seconds:
        return tags

    def probe() -> tuple[Mapping[str, str] | None, str]:
        return read() or None, "without a tag, and tags of a new one may be late"

    try:
        return wait_for(aws.target, what, probe, deadline_seconds=late_seconds, waiting=waiting)
    except WaitTimedOut:
        return {}


def function_tags(aws: Aws, found: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the tags of a function from GetFunction's answer, or of ListTags where the answer has none.

    Lambda leaves them out of the answer for callers who may not list them, and that is no reason to call it foreign.

    Raises:
        ClientError: the caller may not list the tags.
    """
    if "Tags" in found:
        tags: Mapping[str, str] = found["Tags"]
        return tags
    arn, client = found["Configuration"]["FunctionArn"], aws.client("lambda")
    return shown_tags(aws, f"function {arn.split(':')[6]}", lambda: client.list_tags(Resource=arn)["Tags"])


def tags_to_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Convert a `[{"Key", "Value"}]` list, as most services return it, to a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def refuse_foreign(
    where: str,
    found: Mapping[str, str],
    run_id: str,
    *,
    next_command: str = "run the same command with --run-id <another name>",
) -> None:
    """Refuse an existing resource whose tags are not those of the run.

    Raises:
        OwnershipRefused: a tag of the run is missing or has another value.
    """
    if not naming.has_tags_of(run_id, found):
        why = f"it does not carry the tags of run {run_id}, so kennel did not create it for this run"
        raise OwnershipRefused(where, "it exists already", why, next_command)
