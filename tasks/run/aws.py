"""Build the AWS clients of a run; no other module does.

Every client has timeouts, a bounded number of standard retries and the endpoint that the settings name. Before any
other call, STS is asked once for the caller's account, which must be the account that the user named.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
import botocore.loaders
import botocore.session
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.handlers import json_decode_policies

from tasks.run import naming
from tasks.run.assumed_credentials import CredentialLife, keep_assumed_credentials, life_of
from tasks.run.bounded_answers import add_bounds
from tasks.run.clock_skew import seconds_ahead
from tasks.run.command_line import aws_command
from tasks.run.errors import AwsFailed, ClockSkewed, TargetRefused, Unreachable, aws_boundary
from tasks.run.expiry import expiry_tags
from tasks.run.logical_aws import AGAIN, LogicalAws, identify
from tasks.run.malformed_answers import CheckedParsers, ask_for_no_region, name_operation, raise_if_malformed
from tasks.run.settings import Settings

Found = TypeVar("Found")

INVOKE_TIMEOUT_SECONDS = 70.0
"""SageMaker gives a container 60 s to answer; botocore's default timeout of 60 s would end at the same moment."""

GET_KEYS = 'eval "$(kennel up)", or eval "$(python -m localaws env --home FOLDER)" for a server that you started'
_FOREIGN_KEY = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch"})
"""What STS answers to a key that the server did not issue, and to the key of one server with another's secret."""

_LONG_CALLS = frozenset({"sagemaker-runtime", "lambda"})
_HOME_REGIONS = {"pricing": "us-east-1"}
"""Services that answer for all regions from an endpoint in one of them."""


@functools.cache
def _loader() -> Any:
    """Return the reader of botocore's service descriptions, one for all sessions: EC2's takes 0.3 s of CPU to read."""
    return botocore.loaders.create_loader()


@dataclass(frozen=True)
class _Caller:
    """Whose calls these are, as STS says; `ahead_seconds` is by how much this machine's clock is ahead of its own."""

    arn: str
    account_id: str
    partition: str
    ahead_seconds: float | None


class Aws:
    """The AWS clients for one account, region and endpoint; constructing it does no I/O."""

    def __init__(self, settings: Settings) -> None:
        """Decide from the settings whether real AWS or the embedded one is used.

        Raises:
            TargetRefused: the settings do not say clearly which AWS to use.
        """
        self.settings = settings
        self.target = settings.target()
        self.region = settings.region
        self._lock = threading.RLock()
        self._clients: dict[str, Any] = {}
        self._session: Any = None
        self._caller: _Caller | None = None
        self._identity: LogicalAws | None = None
        self._found: dict[str, Any] = {}

    def in_region(self, region: str) -> Aws:
        """Return the same AWS in another region; it asks nobody anew who calls.

        Raises:
            TargetRefused, AwsFailed: as `account_id` raises them.
        """
        if region == self.region:
            return self
        other = Aws(self.settings.model_copy(update={"region": region}))
        other._lock, other._caller, other._session = self._lock, self._ask(), self._boto_session()
        return other

    @property
    def endpoint(self) -> str:
        """The endpoint that calls go to: a loopback URL, or "aws"."""
        return self.settings.endpoint_url or "aws"

    @property
    def account_id(self) -> str:
        """The caller's account id; the first access asks STS for it.

        Raises:
            TargetRefused: it is not the account that the user named.
            AwsFailed: STS did not answer, or refused the call.
        """
        return self._ask().account_id

    @property
    def partition(self) -> str:
        """The partition of the caller's account, as STS names it: "aws", "aws-cn", "aws-us-gov", ...

        Raises:
            TargetRefused, AwsFailed: as `account_id` raises them.
        """
        return self._ask().partition

    @property
    def caller_arn(self) -> str:
        """The ARN of the caller as STS names it: a user's, a role's session's, or the root user's.

        Raises:
            TargetRefused, AwsFailed: as `account_id` raises them.
        """
        return self._ask().arn

    @property
    def clock_ahead_seconds(self) -> float | None:
        """By how much this machine's clock is ahead of STS's (negative: behind); None if STS told no time.

        Raises:
            TargetRefused, AwsFailed: as `account_id` raises them.
        """
        return self._ask().ahead_seconds

    @property
    def credential_life(self) -> CredentialLife:
        """How long the credentials of the calls hold, as far as is known before they expire.

        Raises:
            TargetRefused, AwsFailed: as `account_id` raises them.
        """
        self.account_id  # noqa: B018  a call was signed, so they know when they expire
        session = self._boto_session()._session
        return life_of(session.get_credentials(), asks_for_mfa="mfa_serial" in session.get_scoped_config())

    def arn(self, service: str, resource: str, *, account_id: str | None = None) -> str:
        """Return the ARN of a resource in this partition, region and account (or in the account that is named).

        ARNs of IAM have no region, those of S3 neither region nor account.

        Raises:
            TargetRefused, AwsFailed: as `account_id` raises them.
        """
        region = "" if service in {"iam", "s3"} else self.region
        owner = "" if service == "s3" else account_id or self.account_id
        return f"arn:{self.partition}:{service}:{region}:{owner}:{resource}"

    @property
    def identity(self) -> LogicalAws:
        """Which AWS this is, independent of its address; the first access asks a server on loopback.

        Raises:
            Unreachable: nothing answers at the endpoint.
        """
        with self._lock:
            if self._identity is None:
                self._identity = identify(self.endpoint)
            return self._identity

    def require_same(self, where: str) -> None:
        """Return if this is still the AWS that it was when it was first asked; real AWS always is.

        Raises:
            Unreachable: the embedded AWS has ended, and another one may have its address.
        """
        if identify(self.endpoint) != self.identity:
            why = "what it had was in its memory, and is lost"
            raise Unreachable(where, f"at {self.endpoint} answers another AWS than at the start", why, AGAIN)

    @property
    def bucket(self) -> str:
        """The name of the project's bucket, which may not exist yet."""
        return self.settings.bucket_for(self.account_id)

    def client(self, service: str) -> Any:
        """Return the botocore client of a service ("s3", "sagemaker", "lambda", ...); it is cached and thread-safe.

        Raises:
            TargetRefused: the caller's account is not the account that the user named.
            AwsFailed: STS did not answer, or refused the call.
        """
        if service != "sts":
            self.account_id  # noqa: B018  checks the account before the first call to any other service
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._boto_session().client(
                    service,
                    region_name=_HOME_REGIONS.get(service, self.region),
                    endpoint_url=self.settings.endpoint_url,
                    config=self._config(service),
                )
            return self._clients[service]

    def once(self, name: str, look: Callable[[], Found]) -> Found:
        """Return what was found when this was first looked at; it is looked at once, unless that fails."""
        with self._lock:
            if name not in self._found:
                self._found[name] = look()
            found: Found = self._found[name]
            return found

    def tags(self, run_id: str) -> dict[str, str]:
        """Return the tags of what a run creates for itself: those that say whose it is, and its time to live.

        Raises:
            LedgerRefused: the run's record of its time to live cannot be read.
        """
        return {**naming.tags(run_id), **expiry_tags(self.settings.run_dir(run_id))}

    def tag_list(self, run_id: str) -> list[dict[str, str]]:
        """Return these tags as the `[{"Key", "Value"}]` list that most services take.

        Raises:
            LedgerRefused: as `tags`.
        """
        return [{"Key": key, "Value": value} for key, value in self.tags(run_id).items()]

    def cli(self, operation: str, **parameters: str | Sequence[str]) -> str:
        """Return a command of the aws CLI for this AWS; without the endpoint it would ask the real one."""
        command, endpoint = aws_command(operation, **parameters), self.settings.endpoint_url
        return f"aws --endpoint-url {endpoint} {command}" if endpoint else f"aws {command}"

    def sagemaker_session(self) -> Any:
        """Return a SageMaker SDK v3 session on the same endpoint and account.

        The SDK passes a public endpoint for STS and sends telemetry; this session ignores that endpoint and opts out of
        telemetry. Importing the SDK takes seconds, so this method imports it and not the module.

        Raises:
            TargetRefused, AwsFailed: as `client` raises them.
        """
        from sagemaker.core.helper.session_helper import Session

        opted_out = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
        return Session(
            boto_session=self.boto_session(),
            default_bucket=self.bucket,
            sagemaker_config=opted_out,
            sagemaker_client=self.client("sagemaker"),
            sagemaker_runtime_client=self.client("sagemaker-runtime"),
        )

    def boto_session(self) -> Any:
        """Return a boto3 session for the SDK, whose clients use this endpoint even if the SDK passes another.

        Raises:
            TargetRefused, AwsFailed: as `client` raises them.
        """
        self.account_id  # noqa: B018
        return _pinned_session_class()(self._credentials(), self.region, self.settings.endpoint_url)

    def _boto_session(self) -> Any:
        if self._session is None:
            core = _core_session()
            self._session = boto3.session.Session(botocore_session=core, region_name=self.region, **self._credentials())
        return self._session

    def _credentials(self) -> dict[str, str]:
        """Return the embedded AWS's key from the environment, and none for real AWS, where boto3's own chain finds one.

        Raises:
            TargetRefused: the environment names the embedded AWS and has no key of it.
        """
        if self.target.has_profile_credentials:
            return {}
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise self._no_key("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
        return {"aws_access_key_id": key, "aws_secret_access_key": secret}

    def _no_key(self, what: str) -> TargetRefused:
        why = f"the embedded AWS at {self.endpoint} answers only requests that are signed with a key of its own"
        return TargetRefused("target", what, why, GET_KEYS)

    def _config(self, service: str) -> Config:
        read = self.settings.read_timeout_seconds
        return Config(
            retries={"mode": "standard", "total_max_attempts": self.settings.max_attempts},
            connect_timeout=self.settings.connect_timeout_seconds,
            read_timeout=max(read, INVOKE_TIMEOUT_SECONDS) if service in _LONG_CALLS else read,
            max_pool_connections=max(16, self.settings.upload_threads),
            ignore_configured_endpoint_urls=True,
            # botocore presigns for S3 by version 2, with which S3 refuses what a key of KMS encrypts
            signature_version="s3v4" if service == "s3" else None,
        )

    def _ask(self) -> _Caller:
        with self._lock:
            if self._caller is None:
                self._caller = self._ask_caller()
            return self._caller

    def _ask_caller(self) -> _Caller:
        try:
            with aws_boundary(f"account at {self.endpoint}"):
                answer = self.client("sts").get_caller_identity()
                account, arn = str(answer["Account"]), str(answer["Arn"])
        except AwsFailed as failed:
            is_foreign = failed.code in _FOREIGN_KEY and not isinstance(failed, ClockSkewed)
            if self.target.has_profile_credentials or not is_foreign:
                raise
            raise self._no_key("AWS_ACCESS_KEY_ID is not a key of this server") from failed
        named = self.settings.account_id
        if named is not None and named != account:
            why = f"the credentials in use belong to account {account}"
            switch = f"export AWS_PROFILE=<one of account {named}>, or export KENNEL_ACCOUNT_ID={account}"
            raise TargetRefused("target", f"KENNEL_ACCOUNT_ID={named}", why, switch)
        return _Caller(arn, account, arn.split(":")[1], seconds_ahead(answer))


def _core_session() -> Any:
    """Return a session of botocore whose clients raise `MalformedAnswerError`, and whose MFA code is asked once.

    Raises:
        TargetRefused: the profile that the user named does not exist.
    """
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    core.register_component("response_parser_factory", CheckedParsers(core.get_component("response_parser_factory")))
    core.register("before-parse", name_operation)
    core.register("after-call", raise_if_malformed)
    core.unregister("after-call.iam", json_decode_policies)
    core.register("after-call.iam", decode_policies)
    core.get_component("event_emitter").register_first("needs-retry.s3", ask_for_no_region)
    core.register("creating-client-class", add_bounds)
    _require_profile(core)
    return keep_assumed_credentials(core)


def decode_policies(parsed: Any, model: Any, **_: Any) -> None:
    """Decode IAM's policy documents as botocore does, which raises at one that is nested deeply: it stays a text."""
    with suppress(RecursionError):
        json_decode_policies(parsed, model)


def transfer(call: Callable[[], Found]) -> Found:
    """Return the result of a transfer of boto3's, which raises errors of its own in place of those of its calls.

    Raises:
        ClientError, BotoCoreError: a call of the transfer failed.
    """
    try:
        return call()
    except Boto3Error as error:
        cause = getattr(error, "last_exception", error.__context__)
        raise cause if isinstance(cause, ClientError | BotoCoreError) else HTTPClientError(error=error) from error


def _require_profile(session: Any) -> None:
    """Check that the profile that the user named exists.

    Raises:
        TargetRefused: it does not; the error names the files in which it was looked for.
    """
    variables = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
    named = session.get_config_variable("profile")
    if named is None or named in session.available_profiles:
        return
    variable = next((name for name in variables if os.environ.get(name) == named), variables[1])
    files = " and ".join(str(session.get_config_variable(name)) for name in ("config_file", "credentials_file"))
    known = ", ".join(sorted(session.available_profiles)) or "none"
    why = f"there is no such profile in {files}; known: {known}"
    raise TargetRefused("target", f"{variable}={named}", why, f"unset {variable}, or aws configure --profile {named}")


def _pinned_session_class() -> Any:
    """Return a subclass of boto3's Session; the SDK checks for a real subclass, so a wrapper would not do."""

    class PinnedSession(boto3.session.Session):  # type: ignore[misc]
        """A session that ignores `endpoint_url` arguments, because the SDK passes a public endpoint for STS."""

        def __init__(self, credentials: dict[str, str], region: str, endpoint_url: str | None) -> None:
            super().__init__(botocore_session=_core_session(), region_name=region, **credentials)
            self._pinned = endpoint_url

        def client(self, *args: Any, **kwargs: Any) -> Any:
            return super().client(*args, **{**kwargs, "endpoint_url": self._pinned})

        def resource(self, *args: Any, **kwargs: Any) -> Any:
            return super().resource(*args, **{**kwargs, "endpoint_url": self._pinned})

    return PinnedSession
