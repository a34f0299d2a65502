"""Stages a source of a bucket by a job of SageMaker: creates or adopts it, answers its verdict, commits the dataset.

Over this machine go the listing of the source, what the job found in it, and the manifest, and no photo. The job writes
shards only after this machine has answered its verdict, and into its own area; this machine has S3 copy them to the
dataset when all are there, and writes the manifest, which commits it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

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
from tasks.processing.attempts import settle_attempts, stop_others
from tasks.processing.code_package import code_archive
from tasks.processing.follow import Follower
from tasks.processing.job import (
    SHARES_PER_HOST,
    StagingPlan,
    create_staging,
    find_staging,
)
from tasks.processing.order import Order
from tasks.processing.told import look_at_shards, lost, read_shards, read_verdict
from tasks.processing.verdict import JudgedByJob, Verdict
from tasks.run.errors import AwsFailed, KennelError, NotFound, StageFailed
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
    try:
        name = _started(run, plan)
        area = plan.area(run.aws, name)
        follower = Follower(run.aws, name, area, deadline_seconds=STAGING_SECONDS + PROVISIONING_SECONDS)
        return _decided(source, cache, run, area, follower)
    finally:
        settle_attempts(run)


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
    """Create the job, or adopt that of an earlier command, and return its name; other jobs of the run are stopped."""
    found = find_staging(run.aws, plan)
    stop_others(run, found.name)
    if found.description is None:
        hosts = f"{plan.instance_count} × {plan.instance.instance_type}"
        say(f"processing job {found.name}: {len(plan.order.objects):,} objects of {plan.order.place.uri} on {hosts}")
        create_staging(run, plan, found.name)
    else:
        status = found.description["ProcessingJobStatus"]
        say(f"processing job {found.name}: adopted the job of an earlier command; it is {status}")
        run.ledger.adopt("processing-job", found.name, str(found.description["ProcessingJobArn"]))
    return found.name


def _decided(source: LocatedSource, cache: JudgementCache, run: Run, area: Area, follower: Follower) -> StagingOutcome:
    """Answer the verdict, and return the dataset when it is there.

    Raises:
        DataRefused: the data is unfit.
    """
    told = follower.until_told(areas.VERDICT)
    with answered(area):
        verdict = read_verdict(told, area)
        staged = None if verdict.problems else find_staged(run.aws, verdict.judgement, source)
        if not verdict.problems:
            keep_splits(source, run, verdict)
        is_wanted = not verdict.problems and staged is None
        area.tell(areas.ANSWER, {"is_wanted": is_wanted, "digest": verdict.digest})
    findings = verdict.findings
    if verdict.problems:
        _wait_for_the_end(follower)
    with refused_listed((*findings.quarantined, *findings.unused), source.name, run.settings):
        refuse(verdict.problems)
    prefix = f"s3://{area.bucket}/{dataset_prefix(verdict.digest)}/"
    if staged is not None:
        run.ledger.adopt("s3-prefix", prefix)
        _wait_for_the_end(follower)
        cache.store(verdict.judgement)
        return StagingOutcome(staged, findings, UploadSummary())
    with run.ledger.create("s3-prefix", prefix, None):
        follower.until_completed()
        dataset, sent = _committed(run, JudgedByJob(source, verdict), area)
    cache.store(verdict.judgement)
    return StagingOutcome(dataset, findings, sent)


@contextmanager
def answered(area: Area) -> Iterator[None]:
    """Tell the hosts, when the block fails, that nothing is wanted of them; the job is not adopted any more."""
    try:
        yield
    except KennelError:
        with suppress(AwsFailed):  # what failed before is what has to be told
            area.tell(areas.ANSWER, {"is_wanted": False, "is_void": True})
        raise


def keep_splits(source: LocatedSource, run: Run, verdict: Verdict) -> None:
    """Keep the splits that were made, as a staging here does before it sends anything.

    Raises:
        StageFailed: another staging has put a photo into another split since the job was ordered.
    """
    record = SplitRecord(source.options, run.settings)
    kept = record.read()
    others = [digest for digest, split in verdict.made.items() if kept.get(digest, split) != split]
    if others:
        what = f"{len(others):,} photos are in other splits than when the job was ordered"
        why = f"another staging kept them in {record.path} meanwhile"
        raise StageFailed("stage_data", what, why, "run the same command again, which makes a new attempt")
    if verdict.made:
        record.add(verdict.made)


def _wait_for_the_end(follower: Follower) -> None:
    """Wait for the end of a job of which nothing more is wanted; how it ends does not matter."""
    with suppress(StageFailed, NotFound):
        follower.until_completed()


def _committed(run: Run, judged: JudgedByJob, area: Area) -> tuple[DatasetRef, UploadSummary]:
    """Copy the shards to the dataset, look whether all are stored as the hosts say, and write the manifest.

    Raises:
        StageFailed: a shard is missing or damaged.
        MalformedAnswer: a host told something that cannot be.
    """
    prefix = dataset_prefix(judged.digest)
    shards = read_shards(area, judged.verdict)
    found = look_at_shards(area, judged.digest, shards)
    if found.missing:
        raise lost(area, found.missing)

    def copy(key: str) -> None:
        objects.copy_object(run.aws, area.bucket, f"{area.prefix}/{areas.MADE}/{key}", f"{prefix}/{key}")

    with ThreadPoolExecutor(run.settings.upload_threads) as pool:
        list(pool.map(copy, found.waiting))
    objects.delete_prefix(run.aws, area.bucket, f"{area.prefix}/{areas.MADE}/")
    now = look_at_shards(area, judged.digest, shards)
    if now.missing:
        raise lost(area, now.missing)
    is_first = f"{prefix}/manifest.json" not in objects.list_objects(run.aws, area.bucket, f"{prefix}/manifest.json")
    dataset = commit(run.aws, judged, [shard.row for shard in shards], is_first=is_first)
    sent = [shard.size_bytes for shard in shards]
    return dataset, UploadSummary(len(sent), sum(sent))
