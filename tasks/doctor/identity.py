"""Who calls AWS: the region, the account, how long the credentials hold, and this machine's clock against AWS's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from tasks.doctor.findings import Finding, fail, ok, warn
from tasks.run.assumed_credentials import CredentialLife
from tasks.run.aws import Aws
from tasks.run.clock_skew import ALLOWED_SECONDS, skew_in_words
from tasks.run.errors import AccessDenied, ClockSkewed, TargetRefused
from tasks.run.partitions import is_listed, partition_of

ACCOUNT, CLOCK, CREDENTIALS, REGION = "account", "clock", "credentials", "region"
SHORTEST_RUN_SECONDS = 1200.0
"""What a run on AWS takes at least: a training job and an endpoint need some minutes each to start."""
BESIDES_TRAINING_SECONDS = 1800.0
NOTICED_SECONDS = 30.0
"""A smaller difference of the clocks is not worth a word: AWS tells whole seconds, some after it was asked."""
_RENEW = "renew them (aws sso login, or aws configure), then check by aws sts get-caller-identity"


def region_finding(region: str) -> Finding:
    """Return whether botocore knows the region; its hosts could not be found otherwise."""
    if is_listed(region):
        return ok(REGION, f"{region}, partition {partition_of(region)}")
    what = f"botocore knows no region {region}, so its hosts have no names"
    return fail(REGION, what, "export AWS_REGION=us-east-1, or another one that exists")


def caller_findings(aws: Aws, longest_training_seconds: float, now: datetime | None = None) -> Iterator[Finding]:
    """Yield who calls, whether the region is of the caller's partition, how long the credentials hold, and the clocks.

    Raises:
        AwsFailed: STS did not answer.
    """
    try:
        account, partition = aws.account_id, aws.partition
    except (AccessDenied, TargetRefused) as error:
        yield fail(ACCOUNT, f"{error.what}: {error.why}", error.next_command)
        return
    except ClockSkewed as error:
        yield fail(CLOCK, f"{error.what}; {error.why}", error.next_command)
        return
    yield ok(ACCOUNT, f"{account} as {aws.caller_arn.partition(f':{account}:')[2]}")
    if partition != partition_of(aws.region):
        what = f"{aws.region} is of the partition {partition_of(aws.region)}, the credentials are of {partition}"
        yield fail(REGION, what, "export AWS_REGION=<a region of the account's partition>")
    yield life_finding(aws.credential_life, longest_training_seconds, now or datetime.now(UTC))
    yield clock_finding(aws.clock_ahead_seconds)


def life_finding(life: CredentialLife, longest_training_seconds: float, now: datetime) -> Finding:
    """Return whether credentials hold for as long as a run may take.

    A run takes 20 minutes at least, and at most the limit of its training and half an hour more.
    """
    if not life.is_temporary:
        return ok(CREDENTIALS, f"a key that does not expire ({life.method})")
    if life.is_renewed:
        return ok(CREDENTIALS, f"temporary, renewed by themselves ({life.method})")
    if life.expires is None:
        return warn(CREDENTIALS, f"temporary ({life.method}), and they do not say when they expire", _RENEW)
    left, longest = (life.expires - now).total_seconds(), longest_training_seconds + BESIDES_TRAINING_SECONDS
    if left <= 0:
        return fail(CREDENTIALS, f"expired {-left / 60:,.0f} minutes ago ({life.method})", _RENEW)
    holds = f"they expire in {left / 60:,.0f} minutes ({life.method})"
    if left < SHORTEST_RUN_SECONDS:
        return fail(CREDENTIALS, f"{holds}, and a run takes {SHORTEST_RUN_SECONDS / 60:.0f} at least", _RENEW)
    if left < longest:
        return warn(CREDENTIALS, f"{holds}, and a run may take {longest / 60:,.0f}", _RENEW)
    return ok(CREDENTIALS, holds)


def clock_finding(ahead_seconds: float | None) -> Finding:
    """Return whether this machine's clock is near AWS's, by how many seconds it is ahead; None: AWS told no time."""
    cure = "sudo timedatectl set-ntp true, then check `date -u`"
    if ahead_seconds is None:
        return warn(CLOCK, "AWS's answer tells no time to compare with", cure)
    if abs(ahead_seconds) > ALLOWED_SECONDS:
        return fail(CLOCK, f"{skew_in_words(ahead_seconds)}; a signature holds for 5 minutes", cure)
    if abs(ahead_seconds) > NOTICED_SECONDS:
        side = "ahead of" if ahead_seconds > 0 else "behind"
        return warn(CLOCK, f"{abs(ahead_seconds):.0f} s {side} AWS's, which allows 300 s", cure)
    return ok(CLOCK, "as AWS's, within some seconds")
