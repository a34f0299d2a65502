"""The error tree of kennel, and the one boundary at which AWS's errors become ours.

    KennelError                     exit code 1
    ├── SettingsRefused             2   a setting is missing, misspelt or out of bounds
    │   └── TargetRefused           2   it is not clear which AWS is meant, so none is called
    ├── DataRefused                 3   the data was read and judged unfit; nothing was created
    │   └── SourceRefused           3   the source cannot be read safely (hostile archive, wrong layout)
    ├── DownloadFailed              4   the source could not be fetched
    ├── AwsFailed                   5   AWS answered with an error
    │   ├── AccessDenied            5
    │   ├── NotFound                5
    │   ├── AlreadyExists           5
    │   ├── LimitReached            5   quota, capacity or throttling, after the bounded retries
    │   └── Unreachable             5   no answer within the deadline
    ├── OwnershipRefused            6   the name exists and is not ours; it is left alone
    ├── LedgerRefused               6   the ledger belongs to another account or endpoint, or is damaged
    ├── RunBusy                     7   another process works on this run
    ├── WaitTimedOut                8   a deadline passed
    ├── StageFailed                 9   a training job, endpoint, function or load test ended badly
    │   ├── Inconclusive            11  a load test says nothing: the machine or the generator was disturbed
    │   └── RemoteFailed            9   something went wrong on a machine that is reached by SSH, or on the way to it
    │       ├── HostKeyRefused      9   another machine answers there than the one we know; nothing was sent to it
    │       ├── LoginRefused        9   the machine does not let this user or key in, or the key cannot be used
    │       ├── ConnectionLost      9   no connection could be made, or it was cut or fell silent
    │       └── CommandFailed       9   a command ended with a status other than 0, or by a signal
    └── TeardownIncomplete          10  something of ours is still there

Every error says where it happened, what was met, why that stops the work, and the command that helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as AwsConnectionError


class KennelError(Exception):
    """A failure that a person can act on.

    `where` is the step ("stage_data: bucket"), `what` the thing met, `why` the reason that it stops the work, and
    `next_command` something to type or do.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, where: str, what: str, why: str, next_command: str) -> None:
        super().__init__(where, what, why, next_command)
        self.where = where
        self.what = what
        self.why = why
        self.next_command = next_command

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  why:  {self.why}\n  next: {self.next_command}"


class SettingsRefused(KennelError):
    """A setting is missing, misspelt or out of bounds."""

    exit_code = 2


class TargetRefused(SettingsRefused):
    """It is not clear which AWS is meant, so none is called."""


class DataRefused(KennelError):
    """The data was read and judged unfit; nothing was created."""

    exit_code = 3


class SourceRefused(DataRefused):
    """The source cannot be read safely, or is not laid out as train|valid|test/<class>/<image>."""


class DownloadFailed(KennelError):
    """The source could not be fetched."""

    exit_code = 4


class AwsFailed(KennelError):
    """AWS answered with an error; `code` is AWS's own, or None when there was no answer."""

    exit_code = 5

    def __init__(self, where: str, what: str, why: str, next_command: str, code: str | None = None) -> None:
        super().__init__(where, what, why, next_command)
        self.args = (where, what, why, next_command, code)
        self.code = code


class AccessDenied(AwsFailed):
    """The caller may not do this."""


class NotFound(AwsFailed):
    """The thing asked for does not exist."""


class AlreadyExists(AwsFailed):
    """The thing to be created exists, or is in a state that forbids the call."""


class LimitReached(AwsFailed):
    """A quota, missing capacity or throttling that outlasted the bounded retries."""


class Unreachable(AwsFailed):
    """No answer within the deadline."""


class OwnershipRefused(KennelError):
    """The name exists and is not ours; it is left alone."""

    exit_code = 6


class LedgerRefused(KennelError):
    """The ledger belongs to another account or endpoint, or is damaged."""

    exit_code = 6


class RunBusy(KennelError):
    """Another process works on this run."""

    exit_code = 7


class WaitTimedOut(KennelError):
    """A deadline passed before the thing waited for happened."""

    exit_code = 8


class StageFailed(KennelError):
    """A training job, endpoint, function or load test ended badly."""

    exit_code = 9


class Inconclusive(StageFailed):
    """A load test says nothing of its target: the machine was disturbed, or the generator was the bottleneck."""

    exit_code = 11


class RemoteFailed(StageFailed):
    """Something went wrong on a machine that is reached by SSH, or on the way to it."""


class HostKeyRefused(RemoteFailed):
    """Another machine answers there than the one we know; nothing was sent to it."""


class LoginRefused(RemoteFailed):
    """The machine does not let this user or key in, or the key cannot be used."""


class ConnectionLost(RemoteFailed):
    """No connection could be made, or it was cut or fell silent; `obstacle` says what was met, None once logged in."""

    def __init__(self, where: str, what: str, why: str, next_command: str, obstacle: str | None = None) -> None:
        super().__init__(where, what, why, next_command)
        self.args = (where, what, why, next_command, obstacle)
        self.obstacle = obstacle


class CommandFailed(RemoteFailed):
    """A command ended with a status other than 0, or by a signal."""


class TeardownIncomplete(KennelError):
    """Something of ours is still there."""

    exit_code = 10


_NOT_FOUND = {
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchEntity",
    "NoSuchUpload",
    "NotFound",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "ObjectNotFoundException",
    "InvalidInstanceID.NotFound",
    "InvalidGroup.NotFound",
    "InvalidKeyPair.NotFound",
    "InvalidAMIID.NotFound",
    "ParameterNotFound",
    "404",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AllAccessDisabled", "403"}
_EXISTS = {
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "EntityAlreadyExists",
    "ResourceAlreadyExistsException",
    "ResourceConflictException",
    "ResourceInUse",
    "ConflictException",
    "InvalidKeyPair.Duplicate",
    "InvalidGroup.Duplicate",
}
_LIMIT = {
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ResourceLimitExceeded",
    "LimitExceeded",
    "LimitExceededException",
    "ServiceQuotaExceededException",
    "InsufficientInstanceCapacity",
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "SlowDown",
}


def error_code(error: ClientError) -> str:
    """Return AWS's code of an error, such as "ValidationException"."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_not_found(error: ClientError) -> bool:
    """Tell whether AWS says that the thing does not exist.

    SageMaker says it with a ValidationException and IAM, S3 and Lambda with codes of their own.
    """
    code = error_code(error)
    if code in _NOT_FOUND:
        return True
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    said_so = any(words in message for words in ("could not find", "not found", "does not exist", "recordnotfound"))
    return code == "ValidationException" and said_so


def translate(error: ClientError | BotoCoreError, where: str, next_command: str = "kennel status") -> AwsFailed:
    """Return the error of ours that an error of botocore's means; raise it `from` the original."""
    if isinstance(error, ClientError):
        return _translate_answer(error, where, next_command)
    if isinstance(error, NoCredentialsError):
        return AccessDenied(where, str(error), "no credentials were found", "aws configure, or kennel run without AWS")
    if isinstance(error, AwsConnectionError | HTTPClientError):
        return Unreachable(where, str(error), "no answer within the deadline and its retries", next_command)
    return AwsFailed(where, str(error), f"the AWS library raised {type(error).__name__}", next_command)


def _translate_answer(error: ClientError, where: str, next_command: str) -> AwsFailed:
    code = error_code(error)
    what = f"{error.operation_name} answered {code}"
    why = str(error.response.get("Error", {}).get("Message", "")) or "AWS gave no reason"
    if is_not_found(error):
        return NotFound(where, what, why, next_command, code)
    if code in _DENIED:
        allow = f'allow "{error.operation_name}" in the policy of the caller, then run the same command again'
        return AccessDenied(where, what, why, allow, code)
    kinds: tuple[tuple[set[str], type[AwsFailed]], ...] = ((_EXISTS, AlreadyExists), (_LIMIT, LimitReached))
    kind = next((made for codes, made in kinds if code in codes), AwsFailed)
    return kind(where, what, why, next_command, code)


@contextmanager
def aws_boundary(where: str, next_command: str = "kennel status") -> Iterator[None]:
    """Translate whatever botocore raises inside the block.

    Raises:
        AwsFailed: or the kind of it that fits, from the original error.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error, where, next_command) from error
