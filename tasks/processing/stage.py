"""Stages a source of a bucket by a job of SageMaker: creates or adopts it, answers its verdict, commits the dataset.

Over this machine go the listing of the source, what the job found in it, and the manifest, and no photo. The job writes
shards only after this machine has answered its verdict; this machine writes the manifest, which commits the dataset,
when all shards are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks.account import objects
from tasks.account.bucket import ensure_bucket
from tasks.account.container_images import training_image
from tasks.account.encryption import encryption_of
from tasks.account.prices import choose_training_instance
from tasks.account.role_policies import staging_role
from tasks.account.roles import ensure_role
from tasks.data.judgement import refuse
from tasks.data.judgement_cache import JudgementCache, LocatedSource
from tasks.data.left_out import refused_listed
from tasks.data.split_record import SplitRecord
from tasks.data.staging import StagingOutcome
from tasks.data.upload import UploadSummary, commit, dataset_prefix, find_staged
from tasks.processing import area as areas
from tasks.processing.area import Area
from tasks.processing.code_package import code_archive
from tasks.processing.follow import Follower
from tasks.processing.job import (
    SHARES_PER_HOST,
    StagingPlan,
    create_staging,
    find_staging,
)
from tasks.processing.order import Order
from tasks.processing.verdict import JudgedByJob, Verdict
from tasks.run.errors import MalformedAnswer, StageFailed
from tasks.run.handle import Run
from tasks.run.options import STAGING_SECONDS, Network, StagingOptions
from tasks.run.records import DatasetRef
from tasks.run.waiting import say

PROVISIONING_SECONDS = 1800


def stage_by_job(
    source: LocatedSource, cache: JudgementCache, run: Run, machines: StagingOptions, network: Network = Network()
) -> StagingOutcome:
    """Stage a source of a bucket by a job, and return what the same source gives when it is staged here.

    Raises:
        DataRefused: the data is unfit; nothing but the job's own files was created.
        StageFailed: the job failed or was stopped.
        WaitTimedOut: it did not end within its limits.
        OwnershipRefused: the bucket, the role or a job of that name belongs to somebody else.
        AwsFailed: AWS refused.
    """
    ensure_bucket(run)
    plan = plan_staging(source, run, machines, network)
    name = _started(run, plan)
    area = plan.area(run.aws, name)
    follower = Follower(run.aws, name, area, deadline_seconds=STAGING_SECONDS + PROVISIONING_SECONDS)
    verdict = _read_verdict(follower.until_told(areas.VERDICT), area)
    outcome = _decided(source, cache, run, JudgedByJob(source, verdict), area, follower)
    objects.delete_prefix(run.aws, area.bucket, f"{area.prefix}/{areas.PARTS}/")
    return outcome


def plan_staging(source: LocatedSource, run: Run, machines: StagingOptions, network: Network) -> StagingPlan:
    """Create the job's role and return the plan of the job.

    Raises:
        SettingsRefused: AWS has no image in this region.
        OwnershipRefused: a role of that name belongs to somebody else.
        AwsFailed: AWS refused.
    """
    aws = run.aws
    encryption = encryption_of(aws, aws.bucket)
    known = SplitRecord(source.options, run.settings).read()
    order = Order.of(
        source,
        run.settings,
        known,
        account_id=aws.account_id,
        region=aws.region,
        bucket=aws.bucket,
        encryption=encryption,
        shares=SHARES_PER_HOST * machines.stage_instances,
    )
    place = f"{order.place.bucket}/{order.place.key}"
    in_vpc = network.vpc is not None
    role = staging_role(aws, run.id, place, bucket=aws.bucket, in_vpc=in_vpc, key_arn=encryption.key_arn)
    return StagingPlan(
        run_id=run.id,
        order=order,
        image=training_image(aws.region, has_gpu=False),
        role_arn=ensure_role(run, role),
        instance=choose_training_instance(aws.region, finetune=False, requested=machines.stage_instance_type),
        instance_count=machines.stage_instances,
        code=code_archive(),
        vpc=network.vpc,
        encryption=encryption,
    )


def _started(run: Run, plan: StagingPlan) -> str:
    """Create the job, or adopt that of an earlier command, and return its name."""
    found = find_staging(run.aws, plan)
    if found.description is None:
        hosts = f"{plan.instance_count} × {plan.instance.instance_type}"
        say(f"processing job {found.name}: {len(plan.order.objects):,} objects of {plan.order.place.uri} on {hosts}")
        create_staging(run, plan, found.name)
    else:
        status = found.description["ProcessingJobStatus"]
        say(f"processing job {found.name}: adopted the job of an earlier command; it is {status}")
        run.ledger.adopt("processing-job", found.name, str(found.description["ProcessingJobArn"]))
    return found.name


def _read_verdict(told: Any, area: Area) -> Verdict:
    try:
        return Verdict.from_json(told)
    except (LookupError, TypeError, AttributeError) as error:
        what = f"{area.uri}/{areas.VERDICT} cannot be read ({error!r:.100})"
        why = "the job ran other code than this, or somebody changed what it told"
        raise MalformedAnswer("stage_data", what, why, "run the same command again") from error


def _decided(
    source: LocatedSource, cache: JudgementCache, run: Run, judged: JudgedByJob, area: Area, follower: Follower
) -> StagingOutcome:
    """Answer the verdict, and return the dataset when it is there.

    Raises:
        DataRefused: the data is unfit.
    """
    verdict = judged.verdict
    findings = verdict.findings
    staged = None if verdict.problems else find_staged(run.aws, verdict.judgement, source)
    if verdict.problems or staged is not None:
        area.tell(areas.ANSWER, {"is_wanted": False})
    with refused_listed((*findings.quarantined, *findings.unused), source.name, run.settings):
        refuse(verdict.problems)
    prefix = f"s3://{area.bucket}/{dataset_prefix(verdict.digest)}/"
    if staged is not None:
        run.ledger.adopt("s3-prefix", prefix)
        follower.until_completed()
        _remember(source, cache, run, verdict)
        return StagingOutcome(staged, findings, UploadSummary())
    with run.ledger.create("s3-prefix", prefix, None):
        area.tell(areas.ANSWER, {"is_wanted": True, "digest": verdict.digest})
        follower.until_completed()
        dataset, sent = _committed(run, judged, area)
    _remember(source, cache, run, verdict)
    return StagingOutcome(dataset, findings, sent)


def _remember(source: LocatedSource, cache: JudgementCache, run: Run, verdict: Verdict) -> None:
    """Keep the splits that were made and the judgement, last: until then a repeated command finds the same job."""
    if verdict.made:
        SplitRecord(source.options, run.settings).add(verdict.made)
    cache.store(verdict.judgement)


def _committed(run: Run, judged: JudgedByJob, area: Area) -> tuple[DatasetRef, UploadSummary]:
    """Look whether all shards are stored as the hosts say, and write the manifest.

    Raises:
        StageFailed: a shard is missing or damaged.
    """
    told = [row for host in area.told(areas.SHARDS) for row in area.hear(f"{areas.SHARDS}/{host}")]
    shards = sorted(told, key=lambda row: str(row["key"]))
    prefix = dataset_prefix(judged.digest)
    stored = objects.list_objects(run.aws, area.bucket, f"{prefix}/")
    planned = {row[1] for row in area.hear(areas.PLAN)}
    missing = sorted(planned - {row["key"] for row in shards}) or _damaged(run, area, prefix, shards, stored)
    if missing or f"{prefix}/images.jsonl" not in stored:
        what = f"{len(missing)} shards of {area.bucket}/{prefix} are missing or damaged"
        why = "the job completed without them, or somebody removed them"
        raise StageFailed("stage_data", what, why, "run the same command again, which makes a new attempt")
    dataset = commit(run.aws, judged, shards, is_first=f"{prefix}/manifest.json" not in stored)
    return dataset, UploadSummary(len(shards), sum(row["size_bytes"] for row in shards))


def _damaged(run: Run, area: Area, prefix: str, shards: Sequence[Any], stored: Any) -> list[str]:
    def holds(row: Any) -> bool:
        content = objects.Content(row["size_bytes"], str(row["sha256"]), str(row["md5"]))
        return objects.is_stored(run.aws, area.bucket, stored.get(f"{prefix}/{row['key']}"), content)

    with ThreadPoolExecutor(run.settings.upload_threads) as pool:
        return [row["key"] for row, is_there in zip(shards, pool.map(holds, shards), strict=True) if not is_there]
