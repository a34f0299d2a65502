"""All checks of the account that a run is to use: who calls first, then everything else at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from tasks.account.encryption import require_key
from tasks.account.network import require_network
from tasks.doctor.bucket import CHECK as BUCKET
from tasks.doctor.bucket import bucket_findings
from tasks.doctor.encryption import CHECK as KEY
from tasks.doctor.encryption import key_findings
from tasks.doctor.examine import Check, examine, rows_of
from tasks.doctor.findings import Finding, ok, skipped, with_status
from tasks.doctor.identity import ACCOUNT, caller_findings, region_finding
from tasks.doctor.images import CHECK as IMAGES
from tasks.doctor.images import machine_image_findings, serving_findings, training_findings
from tasks.doctor.network import CHECK as NETWORK
from tasks.doctor.network import network_findings
from tasks.doctor.permissions import CHECK as PERMISSIONS
from tasks.doctor.permissions import permission_findings
from tasks.doctor.quotas import CHECK as QUOTAS
from tasks.doctor.quotas import SERVICES, function_quota, needed_for, quota_findings, require_quotas, spot_quotas
from tasks.doctor.roles import CHECK as ROLES
from tasks.doctor.roles import role_findings
from tasks.ec2.prices import candidate_types
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, LimitReached
from tasks.run.options import DeployOptions, Ec2TrainingOptions, Network, TrainingOptions
from tasks.run.settings import Settings
from tasks.run.waiting import say

WHERE = "doctor"
DEADLINE_SECONDS = 9.0
"""How long the whole look takes at most, if STS answers; otherwise it ends after two attempts to reach it."""
LOCAL_DEADLINE_SECONDS = 60.0
"""The same on the embedded AWS: on a machine that does something else as well its answers take seconds."""
_IMPATIENT = {"connect_timeout_seconds": 2.0, "read_timeout_seconds": 3.0}
_TWICE = {**_IMPATIENT, "max_attempts": 2}


@dataclass(frozen=True)
class RunParts:
    """The run that the account is looked at for; None leaves a part of it out; `network` is a VPC of the user's."""

    training: TrainingOptions | None = None
    deploy: DeployOptions | None = None
    ec2: Ec2TrainingOptions | None = None
    network: Network = Network()

    @property
    def uses_sagemaker(self) -> bool:
        """Whether it trains or serves on SageMaker, which takes subnets only together with security groups."""
        return self.training is not None or self.deploy is not None

    @property
    def longest_training_seconds(self) -> float:
        """The longer limit of its trainings."""
        return max((each.max_runtime_seconds for each in (self.training, self.ec2) if each), default=0)


def account_findings(
    settings: Settings, wanted: RunParts, *, writes: bool, deadline_seconds: float | None = None
) -> tuple[Finding, ...]:
    """Look at the account and return what was found; `writes`: an object is put into kennel's bucket and deleted.

    Raises:
        TargetRefused: the settings do not say which AWS to use.
    """
    begun, region = time.monotonic(), region_finding(settings.region)
    aws = Aws(settings.model_copy(update=_TWICE))
    if region.status == "fail" and not aws.target.runs_on_this_machine:
        return (region, _not_made("the region's hosts cannot be found"))
    who = rows_of(Check(ACCOUNT, partial(caller_findings, aws, wanted.longest_training_seconds)))
    if not any(each.check == ACCOUNT and each.status == "ok" for each in who):
        return (region, *who, _not_made("AWS does not answer this caller"))
    is_local = aws.target.runs_on_this_machine
    deadline = deadline_seconds or (LOCAL_DEADLINE_SECONDS if is_local else DEADLINE_SECONDS)
    left = max(1.0, deadline - (time.monotonic() - begun))
    persistent = Aws(settings if is_local else settings.model_copy(update=_IMPATIENT))
    return (region, *who, *examine(_checks(persistent, wanted, writes=writes), left))


def require_account(settings: Settings, wanted: RunParts) -> None:
    """Return if nothing is known that would end a run later; what is worth knowing is said. Nothing is made.

    On the embedded AWS, where nothing is paid for, only the network and the quotas are looked at.

    Raises:
        SettingsRefused, NotFound: there, the network does not serve.
        LimitReached: only quotas are too small.
        AwsFailed: something else, or more, would end it; the error has every finding and its cure.
        TargetRefused: the settings do not say which AWS to use.
    """
    if settings.target().runs_on_this_machine:
        aws, types = Aws(settings), [] if wanted.ec2 is None else candidate_types(wanted.ec2)
        require_key(aws)
        require_network(aws, wanted.network, ec2_types=types, uses_sagemaker=wanted.uses_sagemaker)
        require_quotas(aws, needed_for(settings.region, wanted.training, wanted.deploy, wanted.ec2))
        return
    require_findings(account_findings(settings, wanted, writes=False))


def require_findings(found: Iterable[Finding]) -> None:
    """Return if no finding would end a run; say the others that are worth knowing.

    Raises:
        LimitReached, AwsFailed: as `require_account` raises them.
    """
    found = tuple(found)
    for each in with_status(found, "warn", "skipped"):
        say(f"{WHERE}: {each.check}: {each.seen}")
    failed = with_status(found, "fail")
    if failed:
        kind = LimitReached if all(each.check == QUOTAS for each in failed) else AwsFailed
        what = f"the run would fail: {len(failed)} finding{'s' if len(failed) > 1 else ''}"
        why = "\n".join(f"{each.check}: {each.seen}" for each in failed)
        raise kind(WHERE, what, why, "; ".join(each.cure for each in failed))


def _checks(aws: Aws, wanted: RunParts, *, writes: bool) -> list[Check]:
    ec2, now = wanted.ec2, datetime.now(UTC)
    needed = needed_for(aws.region, wanted.training, wanted.deploy, ec2)
    needed += [*(spot_quotas(ec2) if ec2 else []), *([function_quota()] if wanted.deploy else [])]
    return [
        Check(PERMISSIONS, partial(permission_findings, aws)),
        *(Check(QUOTAS, partial(quota_findings, aws, each, needed)) for each in SERVICES),
        *_image_checks(aws, wanted, now),
        Check(NETWORK, partial(network_findings, aws, ec2, wanted.network, uses_sagemaker=wanted.uses_sagemaker)),
        Check(BUCKET, partial(bucket_findings, aws, writes=writes)),
        Check(KEY, partial(key_findings, aws)),
        Check(ROLES, partial(role_findings, aws, spot=ec2 is not None and ec2.spot)),
    ]


def _image_checks(aws: Aws, wanted: RunParts, now: datetime) -> Iterable[Check]:
    if aws.target.runs_on_this_machine:
        yield Check(IMAGES, lambda: [ok(IMAGES, "containers: none is pulled; jobs run in this project's environment")])
    elif wanted.training is not None:
        yield Check(IMAGES, partial(training_findings, aws, wanted.training, now.date()))
    if wanted.deploy is not None and not aws.target.runs_on_this_machine:
        yield Check(IMAGES, partial(serving_findings, aws, wanted.deploy, now.date()))
    if wanted.ec2 is not None:
        yield Check(IMAGES, partial(machine_image_findings, aws))


def _not_made(why: str) -> Finding:
    return skipped("the rest", why, "cure the above, then run kennel doctor again")
