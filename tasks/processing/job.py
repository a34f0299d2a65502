"""A staging job before it exists, and its creation or adoption: inputs, hosts, limits, role, and the digest of it all.

The digest is part of the job's name and is in its environment. By it a repeated command finds its own job and never
adopts another one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tasks.account.encryption import Encryption
from tasks.account.lookup import none_if_missing
from tasks.account.prices import InstanceChoice
from tasks.account.role_policies import run_prefix, staging_prefix
from tasks.processing import area as areas
from tasks.processing.area import Area
from tasks.processing.code_package import START, start_script
from tasks.processing.host import AREA_VARIABLE
from tasks.processing.order import Order
from tasks.processing.told import look_at_shards, read_shards, read_verdict
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, OwnershipRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.options import STAGING_SECONDS
from tasks.run.statuses import PROCESSING_JOB
from tasks.run.vpc_config import VpcConfig
from tasks.run.waiting import retry_until_role_propagates

SPEC_VARIABLE = "KENNEL_SPEC"
INPUTS = "/opt/ml/processing/input"
LEAST_VOLUME_GIB, MOST_VOLUME_GIB = 30, 1024
VOLUME_FACTOR = 3
"""The volume of a host in sizes of the source: an archive, what it unpacks to, and the staged bytes of all photos."""
SHARES_PER_HOST = 4
MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class StagingPlan:
    """A staging job before it exists."""

    run_id: str
    order: Order
    image: str
    role_arn: str
    instance: InstanceChoice
    instance_count: int
    code: bytes
    vpc: VpcConfig | None = None
    encryption: Encryption = field(default_factory=Encryption)

    @property
    def spec_digest(self) -> str:
        """The sha256 of everything that may change the outcome of the job."""
        parts = [
            self.order.digest,
            hashlib.sha256(self.code + start_script()).hexdigest(),
            self.image,
            self.role_arn,
            [self.instance.instance_type, self.instance_count],
            None if self.vpc is None else self.vpc.sagemaker,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def base_name(self) -> str:
        """The name of the first attempt; further attempts append a number."""
        return naming.resource_name(self.run_id, "stage", self.spec_digest[:8], limit=60)

    def area(self, aws: Aws, name: str) -> Area:
        """Return where the job of a name works."""
        return Area(aws, self.order.bucket, f"{staging_prefix(self.run_id)}/{name}")

    @property
    def volume_gib(self) -> int:
        """The size of each host's volume."""
        size_bytes = sum(each.size_bytes for each in self.order.objects)
        return min(MOST_VOLUME_GIB, max(LEAST_VOLUME_GIB, math.ceil(VOLUME_FACTOR * size_bytes / 2**30)))


@dataclass(frozen=True)
class FoundStaging:
    """A job name to use, and the job's description when it exists already."""

    name: str
    description: Mapping[str, Any] | None


def find_staging(aws: Aws, plan: StagingPlan) -> FoundStaging:
    """Find the job that an earlier command created from this plan, or the first free name.

    A job that failed, that was stopped, or that ended without shards is not adopted: the next attempt gets the next
    number.

    Raises:
        OwnershipRefused: a job of that name was created from another plan.
        StageFailed: `MAX_ATTEMPTS` attempts failed already.
        AwsFailed: SageMaker or S3 refused a lookup.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        name = plan.base_name if attempt == 1 else f"{plan.base_name}-{attempt}"
        description = describe_staging(aws, name)
        if description is None:
            return FoundStaging(name, None)
        _refuse_other_plan(name, description, plan)
        if is_usable(plan.area(aws, name), str(description["ProcessingJobStatus"])):
            return FoundStaging(name, description)
    why = "each of these jobs failed or was stopped, or what it made is gone"
    raise StageFailed(
        "stage_data", f"{MAX_ATTEMPTS} attempts of {plan.base_name}", why, f"kennel logs {plan.run_id} --source staging"
    )


def describe_staging(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return DescribeProcessingJob's answer, or None when there is no such job.

    Raises:
        AwsFailed: SageMaker refused for another reason.
    """
    with aws_boundary(f"processing job {name}"):
        answer: Mapping[str, Any] | None = none_if_missing(
            lambda: aws.client("sagemaker").describe_processing_job(ProcessingJobName=name)
        )
    return answer


def create_staging(run: Run, plan: StagingPlan, name: str) -> None:
    """Put the job's inputs into its area and start it; the job runs when this function returns.

    Raises:
        OwnershipRefused: somebody else created a job of that name in the meantime.
        AwsFailed: SageMaker or S3 refused.
    """
    area = plan.area(run.aws, name)
    with run.ledger.create("s3-prefix", f"s3://{area.bucket}/{run_prefix(plan.run_id)}/", None):
        area.put(f"{areas.ORDER}/order.json.gz", plan.order.to_bytes())
        area.put(f"{areas.CODE}/{START}", start_script(), "text/x-shellscript")
        area.put(f"{areas.CODE}/code.tar.gz", plan.code)
        for share in range(plan.order.shares):
            area.put(f"{areas.SHARES}/{share:05d}.json", json.dumps({"share": share}).encode(), areas.JSON)
    with aws_boundary(f"processing job {name}"):
        look = partial(_own_arn, run.aws, plan, name)
        with run.ledger.create("processing-job", name, look) as row:
            request = _request(run, plan, name, area)
            call = partial(run.aws.client("sagemaker").create_processing_job, **request)
            start = partial(repeated_if_lost, call)
            answer = retry_until_role_propagates(run.aws.target, f"processing job {name}", start)
            row.identifier = str(answer["ProcessingJobArn"])


def _request(run: Run, plan: StagingPlan, name: str, area: Area) -> dict[str, Any]:
    key = plan.encryption.of_volume(plan.instance.instance_type)
    cluster = {
        "InstanceType": plan.instance.instance_type,
        "InstanceCount": plan.instance_count,
        "VolumeSizeInGB": plan.volume_gib,
        **({} if key is None else {"VolumeKmsKeyId": key}),
    }
    return {
        "ProcessingJobName": name,
        "RoleArn": plan.role_arn,
        "AppSpecification": {
            "ImageUri": plan.image,
            "ContainerEntrypoint": ["bash", f"{INPUTS}/code/{START}"],
        },
        "Environment": {
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            SPEC_VARIABLE: plan.spec_digest,
            AREA_VARIABLE: area.uri,
        },
        "ProcessingInputs": [
            _input("code", f"{area.uri}/{areas.CODE}/"),
            _input("order", f"{area.uri}/{areas.ORDER}/"),
            _input("shares", f"{area.uri}/{areas.SHARES}/", "ShardedByS3Key"),
        ],
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": STAGING_SECONDS},
        "Tags": run.aws.tag_list(plan.run_id),
        **({} if plan.vpc is None else {"NetworkConfig": {"VpcConfig": plan.vpc.sagemaker}}),
    }


def _input(name: str, uri: str, distribution: str = "FullyReplicated") -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"{INPUTS}/{name}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": distribution,
    }
    return {"InputName": name, "S3Input": source}


def _own_arn(aws: Aws, plan: StagingPlan, name: str) -> str | None:
    """Return the ARN of the job that was created from this plan, None without a job; refuse another one."""
    description = describe_staging(aws, name)
    if description is None:
        return None
    _refuse_other_plan(name, description, plan)
    return str(description["ProcessingJobArn"])


def _refuse_other_plan(name: str, description: Mapping[str, Any], plan: StagingPlan) -> None:
    if description.get("Environment", {}).get(SPEC_VARIABLE) != plan.spec_digest:
        why = "it was created from another plan (its KENNEL_SPEC differs), and a job's name can be used only once"
        raise OwnershipRefused(
            f"processing job {name}", "it exists already", why, "run the same command with --run-id <another name>"
        )


def is_usable(area: Area, status: str) -> bool:
    """Tell whether what a job made can be used, or may be made still; one of unknown status is followed.

    Raises:
        AwsFailed: S3 refused or did not answer.
    """
    answer = area.hear_if_told(areas.ANSWER)
    if answer is not None and answer.get("is_void"):
        return False
    if PROCESSING_JOB.is_ready(status):
        return answer is not None and _has_result(area, answer)
    return PROCESSING_JOB.is_pending(status) and status != "Stopping"


def _has_result(area: Area, answer: Mapping[str, Any]) -> bool:
    """Tell whether a completed job refused its source, or all that it made is there as its hosts said."""
    told = area.hear_if_told(areas.VERDICT)
    if told is None:
        return False
    try:
        verdict = read_verdict(told, area)
        if verdict.problems or answer.get("digest") != verdict.digest:
            return bool(verdict.problems)
        return not look_at_shards(area, verdict.digest, read_shards(area, verdict)).missing
    except (MalformedAnswer, StageFailed):
        return False
