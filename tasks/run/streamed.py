"""Read the streamed body of an answer: an object of S3, the reply of a function.

botocore's retries end with an answer's headers, and what it returns for the body gives urllib3's errors to whoever
uses it in a `with` block. Here a body that is cut or stalls is an answer that AWS is asked for again.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, TypeVar

from botocore.exceptions import HTTPClientError, IncompleteReadError, ReadTimeoutError
from urllib3.exceptions import HTTPError

from tasks.run.aws import Aws
from tasks.run.malformed_answers import MalformedAnswerError
from tasks.run.waiting import say

Found = TypeVar("Found")
MOST_MEMBER_BYTES = 64 * 2**20
"""Of a file in a shard; a staged photo has less than one."""


def read_whole(body: Any) -> bytes:
    """Return all bytes of a body, whose number botocore compares with the answer's Content-Length."""
    return bytes(body.read())


def bounded_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar file that is streamed; tarfile would read on for as long as one claims to be.

    Raises:
        ValueError: a member claims more than `MOST_MEMBER_BYTES`.
    """
    for member in tar:
        if member.size > MOST_MEMBER_BYTES:
            raise ValueError(f"its member {member.name!r} claims {member.size} bytes")
        yield member


def read_streamed(
    aws: Aws, service: str, operation: str, member: str, read: Callable[[Any], Found], **asked: Any
) -> tuple[Mapping[str, Any], Found]:
    """Make a call, and return its answer and what `read` makes of the body in `member`.

    The call is made again, up to the configured attempts, while its body is cut or stalls; so it must have the same
    result each time. `read` gets a file whose only method is `read(size)`.

    Raises:
        ClientError, BotoCoreError: AWS refused or did not answer; at the last attempt, MalformedAnswerError for a body
            that was cut and ReadTimeoutError for one that stalled.
    """
    client = aws.client(service)
    for left in reversed(range(aws.settings.max_attempts)):
        answer: Mapping[str, Any] = getattr(client, operation)(**asked)
        try:
            with closing(answer[member]) as body:
                return answer, read(body)
        except (HTTPClientError, IncompleteReadError, HTTPError) as error:
            if not left:
                raise _in_botocores_words(client, operation, error) from error
            say(f"the body of AWS's answer to {_name(client, operation)} broke off; AWS is asked again")
    raise AssertionError("there is at least one attempt")


def _in_botocores_words(client: Any, operation: str, error: Exception) -> ReadTimeoutError | MalformedAnswerError:
    url = client.meta.endpoint_url
    if isinstance(error, ReadTimeoutError):
        return ReadTimeoutError(endpoint_url=url, error=error)
    problem = f"its body was cut: {error}"
    return MalformedAnswerError(operation=_name(client, operation), endpoint_url=url, status=200, problem=problem)


def _name(client: Any, operation: str) -> str:
    return str(client.meta.method_to_api_mapping[operation])
