"""Stages a dataset: an archive, a folder, a URL or `sample` becomes shards and a manifest in the project's bucket.

The steps are: bring the source to this machine; look whether it is staged already; otherwise decode and check every
image. Only then is AWS changed: the bucket is created, the shards are uploaded, and the manifest is written last.
Photos that are in S3 may be decoded and judged by a job of SageMaker instead, and are then not brought here.
"""

from __future__ import annotations

import asyncio

from prefect import flow

from flows.harmless import harmless_errors
from flows.run_name import named, staged_run
from flows.step import step
from tasks.account.bucket import ensure_bucket
from tasks.data import staging
from tasks.data.judgement_cache import Findings, JudgementCache, LocatedSource
from tasks.data.left_out import FILE, write_left_out
from tasks.data.report import finding_lines, staging_markdown
from tasks.data.staging import StagingOutcome
from tasks.data.upload import UploadSummary, find_staged
from tasks.processing import remote
from tasks.processing import stage as by_job
from tasks.run.artifacts import publish_markdown
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import DataOptions, Network, StagingOptions
from tasks.run.progress import show_progress
from tasks.run.records import DatasetRef
from tasks.run.run_id import run_of
from tasks.run.settings import Settings
from tasks.run.source_name import keep_in_memory
from tasks.run.waiting import say
from tasks.teardown.rebuild import working_on

STAGE = "stage_data"


@step("locate")
def locate(source: str, settings: Settings, options: DataOptions = DataOptions()) -> LocatedSource:
    """Bring the source to this machine; `options` say how it is to be staged.

    Raises:
        SourceRefused: the source does not exist or cannot be read safely.
        DownloadFailed: the URL could not be fetched.
    """
    return staging.locate(source, settings, show_progress, options)


@step("locate in S3")
def locate_remote(source: str, settings: Settings, options: DataOptions = DataOptions()) -> LocatedSource:
    """Look at a source that is in a bucket, for a job to stage; nothing of it is read.

    Raises:
        SourceRefused: it is not in S3, or there is nothing there.
        AwsFailed: S3 refused.
    """
    return remote.locate_remote(source, Aws(settings), options)


@step("find_unchanged")
def find_unchanged(located: LocatedSource, cache: JudgementCache, aws: Aws) -> DatasetRef | None:
    """Return the dataset to which this source was staged before, or None when it is missing or incomplete.

    Raises:
        AwsFailed: S3 refused.
    """
    known = cache.find()
    return None if known is None else find_staged(aws, known, located)


@step("adopt")
def adopt(dataset: DatasetRef, run: Run) -> None:
    """Record in the ledger that this run uses an existing dataset, after checking the bucket's settings.

    Raises:
        OwnershipRefused: the bucket belongs to somebody else.
        AwsFailed: S3 refused.
    """
    ensure_bucket(run)
    run.ledger.adopt("s3-prefix", f"{dataset.uri}/")


@step("judge_and_upload")
def judge_and_upload(located: LocatedSource, cache: JudgementCache, run: Run) -> StagingOutcome:
    """Decode and check every image; when the data is good, create the bucket and upload.

    Raises:
        DataRefused: the data is unfit; nothing was created.
        OwnershipRefused: the bucket belongs to somebody else.
        AwsFailed: S3 refused.
    """
    return staging.judge_and_upload(located, cache, run, show_progress)


@step("stage by a job")
def stage_by_job(
    located: LocatedSource, cache: JudgementCache, run: Run, machines: StagingOptions, network: Network = Network()
) -> StagingOutcome:
    """Have a job of SageMaker decode and check every image and write the shards; then commit the dataset.

    Raises:
        DataRefused: the data is unfit; no dataset was created.
        StageFailed: the job failed.
        OwnershipRefused: the bucket, the role or the job belongs to somebody else.
        AwsFailed: AWS refused.
    """
    return by_job.stage_by_job(located, cache, run, machines, network)


@flow(name=STAGE, flow_run_name=named(STAGE, staged_run), persist_result=False)
@harmless_errors
async def stage_data(
    source: str = "sample",
    run_id: RunId | None = None,
    options: DataOptions = DataOptions(),
    machines: StagingOptions = StagingOptions(),
    network: Network = Network(),
) -> DatasetRef:
    """Stage a dataset.

    Args:
        source: A URL, an archive, a folder, s3://BUCKET/PREFIX/, or `sample`.
        run_id: By default derived from the source.
        options: How photos are distributed that have no split, and what becomes of a photo in two splits.
        machines: Where photos are decoded and judged: here, or by a job of SageMaker on so many instances.
        network: The subnets and security groups of a VPC of yours, for that job.

    Raises:
        SourceRefused: the source does not exist or cannot be read safely.
        DownloadFailed: the URL could not be fetched.
        DataRefused: the data is unfit; nothing was created.
        TargetRefused: it is not clear which AWS is meant.
        OwnershipRefused: the bucket belongs to somebody else.
        AwsFailed: AWS refused.
        RunBusy: another process works on the run.
    """
    run = Run.load(run_id or run_of(Settings.load().runs, source))
    with working_on(run, STAGE):
        find = locate_remote if machines.is_remote else locate
        located = await find(keep_in_memory(source), run.settings, options)
        cache = await asyncio.to_thread(JudgementCache, located, run.settings)
        dataset = await find_unchanged(located, cache, run.aws)
        if dataset is not None:
            await adopt(dataset, run)
            sent, known = UploadSummary(), await asyncio.to_thread(cache.find)
            findings = Findings() if known is None else known.findings
        else:
            if machines.is_remote:
                outcome = await stage_by_job(located, cache, run, machines, network)
            else:
                outcome = await judge_and_upload(located, cache, run)
            dataset, sent, findings = outcome.dataset, outcome.sent, outcome.findings
        write_left_out(run.folder / FILE, findings.left_out)
        for finding in finding_lines(dataset):
            say(finding)
        await publish_markdown(STAGE, run.id, staging_markdown(dataset, sent.text))
        run.keep(dataset)
    return dataset
