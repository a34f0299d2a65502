"""Define kennel's error tree and translate botocore's errors into it.

    KennelError                     exit code 1
    ├── SettingsRefused             2   a setting is missing, misspelt or out of bounds
    │   └── TargetRefused           2   the settings do not say which AWS to use; none is called
    ├── DataRefused                 3   the data was read and is unfit for training; nothing was created
    │   └── SourceRefused           3   the source cannot be read safely (hostile archive, wrong layout)
    ├── DownloadFailed              4   the source could not be fetched
    ├── AwsFailed                   5   AWS answered with an error
    │   ├── AccessDenied            5
    │   ├── ClockSkewed             5   this machine's clock differs too much from AWS's
    │   ├── NotFound                5
    │   ├── AlreadyExists           5
    │   ├── LimitReached            5   quota, capacity or throttling, after the bounded retries
    │   ├── MalformedAnswer         5   the answer cannot be read, or lacks what kennel needs
    │   └── Unreachable             5   no answer within the deadline
    ├── OwnershipRefused            6   a resource of that name exists and is not ours; it is not changed
    ├── LedgerRefused               6   the ledger belongs to another account or endpoint, or is damaged
    ├── RunBusy                     7   another process works on this run
    ├── WaitTimedOut                8   a deadline passed
    ├── StageFailed                 9   a training job, endpoint, function or load test ended badly
    │   ├── Inconclusive            11  a load test proves nothing: the machine or the generator was disturbed
    │   └── RemoteFailed            9   an operation over SSH failed, on the remote machine or on the connection
    │       ├── HostKeyRefused      9   the server's host key is not the expected one; nothing was sent to it
    │       ├── LoginRefused        9   the server refuses this user or key, or the key cannot be used
    │       ├── ConnectionLost      9   no connection could be made, or it was closed or stopped responding
    │       └── CommandFailed       9   a command ended with a status other than 0, or by a signal
    ├── TeardownIncomplete          10  a resource of ours still exists
    ├── SpendingRefused             13  the costs or a public URL were not agreed to, or they are above the budget
    ├── DiskFailed                  14  this machine's disk is full or read-only, refuses, or a limit of it is reached
    └── Unexpected                  1   something was raised that is none of these: a defect

Every error says where it happened, what happened, why that stops the work, and which command to run next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as AwsConnectionError

from tasks.run.clock_skew import names_the_time, seconds_ahead, skew_in_words
from tasks.run.error_codes import DENIED, EXISTS, NO_CAPACITY, NO_CREDENTIALS, NOT_FOUND, QUOTA, THROTTLED
from tasks.run.escaping import terminal_text
from tasks.run.malformed_answers import MalformedAnswerError


class KennelError(Exception):
    """The base of every failure that a user can act on.

    `where` is the step ("stage_data: bucket"), `what` is what happened, `why` is the reason that this stops the work,
    and `next_command` is a command to type or a thing to do.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, where: str, what: str, why: str, next_command: str) -> None:
        super().__init__(where, what, why, next_command)
        self.where = where
        self.what = what
        self.why = why
        self.next_command = next_command

    def __str__(self) -> str:
        """Return all parts, escaped: Prefect prints it in tracebacks and stores it in the states of a run."""
        return terminal_text(f"{self.where}: {self.what}\n  why:  {self.why}\n  next: {self.next_command}")


class SettingsRefused(KennelError):
    """A setting is missing, misspelt or out of bounds."""

    exit_code = 2


class TargetRefused(SettingsRefused):
    """The settings do not say clearly which AWS to use, so none is called."""


class DataRefused(KennelError):
    """The data was read and is unfit for training; nothing was created."""

    exit_code = 3


class SourceRefused(DataRefused):
    """The source cannot be read safely, or is not laid out as train|valid|test/<class>/<image>."""


class DownloadFailed(KennelError):
    """The source could not be fetched."""

    exit_code = 4


class AwsFailed(KennelError):
    """AWS answered with an error; `code` is AWS's error code, or None when there was no answer."""

    exit_code = 5

    def __init__(self, where: str, what: str, why: str, next_command: str, code: str | None = None) -> None:
        super().__init__(where, what, why, next_command)
        self.args = (where, what, why, next_command, code)
        self.code = code


class AccessDenied(AwsFailed):
    """The caller is not allowed to make this call, or has no credentials."""


class ClockSkewed(AwsFailed):
    """AWS refused a signature because this machine's clock differs too much from its own."""


class NotFound(AwsFailed):
    """The requested resource does not exist."""


class AlreadyExists(AwsFailed):
    """The resource to be created exists already, or its state forbids the call."""


class LimitReached(AwsFailed):
    """A quota, missing capacity or throttling stopped the call, and the bounded retries did not help."""


class Unreachable(AwsFailed):
    """AWS did not answer within the deadline."""


class MalformedAnswer(AwsFailed):
    """AWS's answer cannot be read, or lacks what kennel needs; `is_reading`: the call changes nothing."""

    def __init__(self, where: str, what: str, why: str, next_command: str, is_reading: bool = False) -> None:
        super().__init__(where, what, why, next_command)
        self.args = (where, what, why, next_command, is_reading)
        self.is_reading = is_reading


class OwnershipRefused(KennelError):
    """A resource of that name exists and is not ours; it is not changed."""

    exit_code = 6


class LedgerRefused(KennelError):
    """The ledger belongs to another account or endpoint, or a file of the run is damaged."""

    exit_code = 6


class RunBusy(KennelError):
    """Another process is working on this run."""

    exit_code = 7


class WaitTimedOut(KennelError):
    """A deadline passed before the awaited state was reached."""

    exit_code = 8


class StageFailed(KennelError):
    """A training job, endpoint, function or load test ended badly."""

    exit_code = 9


class Inconclusive(StageFailed):
    """A load test proves nothing about its target: the machine was disturbed, or the generator was the bottleneck."""

    exit_code = 11


class RemoteFailed(StageFailed):
    """An operation over SSH failed, on the remote machine or on the connection to it."""


class HostKeyRefused(RemoteFailed):
    """The server's host key is not the expected one; nothing was sent to the server."""


class LoginRefused(RemoteFailed):
    """The server refuses this user or key, or the key cannot be used."""


class ConnectionLost(RemoteFailed):
    """No connection could be made, or it was closed or stopped responding.

    `obstacle` says what prevented the login; it is None when the connection was lost after the login.
    """

    def __init__(self, where: str, what: str, why: str, next_command: str, obstacle: str | None = None) -> None:
        super().__init__(where, what, why, next_command)
        self.args = (where, what, why, next_command, obstacle)
        self.obstacle = obstacle


class CommandFailed(RemoteFailed):
    """A command ended with a status other than 0, or by a signal."""


class TeardownIncomplete(KennelError):
    """A resource of ours still exists."""

    exit_code = 10


class SpendingRefused(KennelError):
    """What costs money was not agreed to, or costs more than the budget."""

    exit_code = 13


class Unexpected(KennelError):
    """Something was raised that no part of kennel foresaw; its cause is the original."""


_DEFECTS = (NameError, AttributeError, TypeError, ImportError, SyntaxError)
_AGAIN = "run the same command again; if it fails again, report it"
"""A defect of the code is there the next time too; what else was not foreseen may have passed."""


def unexpected(error: Exception, where: str) -> Unexpected:
    """Return the `Unexpected` for an error that is no `KennelError`; the caller raises it `from` the original."""
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    why = "kennel did not foresee this: it is a defect, or this machine lacks something"
    more = "report it, with the traceback" if isinstance(error, _DEFECTS) else _AGAIN
    return Unexpected(where, what, why, more)


class DiskFailed(KennelError):
    """A file of this machine cannot be written: the disk is full or read-only, or its folder refuses this user.

    A file that this user may not read counts as well, and so do something else in its place, too many open files, and
    missing memory.
    """

    exit_code = 14


def error_code(error: ClientError) -> str:
    """Return the AWS code of an error, such as "ValidationException"."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_not_found(error: ClientError) -> bool:
    """Tell whether an error means that the resource does not exist.

    SageMaker reports this with a ValidationException; IAM, S3 and Lambda have codes of their own for it.
    """
    code = error_code(error)
    if code in NOT_FOUND:
        return True
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    means_missing = ("could not find", "not found", "does not exist", "recordnotfound")
    return code == "ValidationException" and any(words in message for words in means_missing)


def translate(
    error: ClientError | BotoCoreError, where: str, next_command: str | None = None
) -> AwsFailed | DiskFailed:
    """Return the error that matches one of botocore; the caller raises it `from` the original.

    It is an `AwsFailed`, but `DiskFailed` when localaws cannot write: its disk is that of this machine. `next_command`
    is the advice for an error whose cause the caller knows better than AWS's code tells it.
    """
    if isinstance(error, ClientError):
        return _translate_answer(error, where, next_command)
    if isinstance(error, NoCredentialsError):
        configure = "aws configure, or unset KENNEL_ACCOUNT_ID to use the embedded AWS"
        return AccessDenied(where, str(error), "boto3 found no AWS credentials", configure)
    if isinstance(error, MalformedAnswerError):
        return _translate_malformed(error, where)
    if isinstance(error, AwsConnectionError | HTTPClientError):
        return Unreachable(where, str(error), *_silence(error))
    why = f"the AWS library raised {type(error).__name__}"
    return AwsFailed(
        where, str(error), why, next_command or "correct what the AWS library names, then repeat the command"
    )


def _translate_malformed(error: MalformedAnswerError, where: str) -> MalformedAnswer:
    why = "kennel acts only on answers that it can read; a proxy, a captive portal or another server may have sent it"
    if not error.is_reading:
        why += f"; AWS may have carried out {error.kwargs['operation']}"
    look = "look at what answers there (curl -i), then run the same command again"
    return MalformedAnswer(where, str(error), why, look, is_reading=error.is_reading)


def _silence(error: BotoCoreError) -> tuple[str, str]:
    """Return why an endpoint does not answer, and what to do; an embedded AWS that hangs still accepts connections."""
    if urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname not in {"localhost", "127.0.0.1", "::1"}:
        why = "AWS did not answer in time, and the retries are used up"
        return why, "check the network by aws sts get-caller-identity, then run the same command again"
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
        why = "the embedded AWS is busy, hangs, or was stopped by a signal (SIGSTOP), and the retries are used up"
        return why, "run the same command again, which lets a stopped one go on; if it hangs: kennel down --yes"
    why = "the embedded AWS has ended or was not started: nothing answers there"
    again = "unset AWS_ENDPOINT_URL, if it is set; then the same command again, which starts the embedded AWS"
    return why, f"{again}; for a flow of a Prefect worker: kennel up, then the flow again"


def _room(why: str) -> str:
    """Return how localaws can write again; it keeps the limit of the shell that started it."""
    if os.strerror(errno.EFBIG) in why:
        return "kennel down --yes, raise the limit on a file's size (ulimit -f unlimited)"
    return "free disk space, or make its folder writable"


def _translate_answer(error: ClientError, where: str, next_command: str | None) -> AwsFailed | DiskFailed:
    code = error_code(error)
    what = f"{error.operation_name} answered {code}"
    if names_the_time(error.response):
        return _clock_skewed(error, where, what)
    why = str(error.response.get("Error", {}).get("Message", "")) or "AWS gave no reason"
    if code == "InsufficientStorage":  # AWS has no such code: it is localaws, which cannot write
        return DiskFailed(where, what, why, f"{_room(why)}, then run the same command again")
    if is_not_found(error):
        make = "run the same command again, which makes what is missing"
        return NotFound(where, what, why, next_command or make, code)
    kind, advice = _kind_and_advice(error, code)
    is_known = kind in {AccessDenied, LimitReached}
    return kind(where, what, why, advice if is_known else next_command or advice, code)


def _kind_and_advice(error: ClientError, code: str) -> tuple[type[AwsFailed], str]:
    """Return the class of an answered error, and what to do about that class of errors."""
    again = "then run the same command again"
    if code in NO_CREDENTIALS:
        return AccessDenied, "renew the credentials (aws sso login or aws configure), try aws sts get-caller-identity"
    if code in DENIED:
        return AccessDenied, f'allow "{error.operation_name}" in the policy of the caller, {again}'
    if code in EXISTS:
        return AlreadyExists, "run the same command again, which adopts what exists"
    if code in THROTTLED:
        return LimitReached, f"wait a minute, {again}"
    if code in NO_CAPACITY:
        return LimitReached, "run the same command again later, or with another instance type"
    if code in QUOTA:
        return LimitReached, f"ask AWS for a higher quota (aws service-quotas), or remove what is not needed, {again}"
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return AwsFailed, f"wait a minute, {again}"
    return AwsFailed, f"correct what AWS names, {again}"


def _clock_skewed(error: ClientError, where: str, what: str) -> ClockSkewed:
    difference = skew_in_words(seconds_ahead(error.response))
    why = "AWS accepts a signature for 5 minutes around its own time, S3 for 15"
    correct = "sudo timedatectl set-ntp true, check `date -u`, then run the same command again"
    return ClockSkewed(where, f"{what}: {difference}", why, correct, error_code(error))


@contextmanager
def aws_boundary(where: str, next_command: str | None = None) -> Iterator[None]:
    """Translate every error that botocore raises inside the block.

    Raises:
        AwsFailed: botocore raised an error; the subclass that matches it is raised, from the original.
        DiskFailed: localaws cannot write on this machine's disk.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error, where, next_command) from error
