"""stage_data: a zip, folder, URL or `sample` becomes a dataset in a bucket of ours.

In order: find the bytes; look whether this very source is staged already; else decode and judge every image; only then
touch AWS: the bucket, the shards, the manifest last. Run it with `prefect deployment run`, or as a part of `pipeline`.
"""

from __future__ import annotations

import asyncio

from prefect import flow, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows.parameters import RunId
from tasks.account.bucket import ensure_bucket
from tasks.data import staging
from tasks.data.memory import LocatedSource, Memory
from tasks.data.report import staging_markdown
from tasks.data.staging import StagingOutcome, UploadSummary
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.ledger import Ledger, run_lock
from tasks.run.progress import show_progress
from tasks.run.records import DatasetRef, save_record
from tasks.run.settings import Settings


@task(cache_policy=NO_CACHE, retries=0)
async def locate(source: str, settings: Settings) -> LocatedSource:
    """Bring the source to this machine."""
    return await asyncio.to_thread(staging.locate, source, settings, show_progress)


@task(cache_policy=NO_CACHE)
async def find_unchanged(located: LocatedSource, memory: Memory, aws: Aws) -> DatasetRef | None:
    """Return the dataset that this source was staged to before, if it is whole."""
    digest = await asyncio.to_thread(memory.recall)
    return None if digest is None else await asyncio.to_thread(staging.find_staged, aws, digest, located)


@task(cache_policy=NO_CACHE)
async def adopt(dataset: DatasetRef, aws: Aws, run_id: str) -> None:
    """Write down that this run uses a dataset that exists; the bucket is looked over."""
    ledger = await asyncio.to_thread(Ledger.open, aws, run_id)
    await asyncio.to_thread(ensure_bucket, aws, ledger, run_id)
    ledger.adopt("s3-prefix", f"{dataset.uri}/")


@task(cache_policy=NO_CACHE)
async def judge_and_upload(located: LocatedSource, memory: Memory, aws: Aws, run_id: str) -> StagingOutcome:
    """Decode and judge; when the data is good, create the bucket and upload."""
    return await asyncio.to_thread(staging.judge_and_upload, located, memory, aws, run_id, show_progress)


@flow(name="stage_data", persist_result=False)
async def stage_data(source: str = "sample", run_id: RunId | None = None) -> DatasetRef:
    """Stage a dataset named by a URL, a local zip or folder, or `sample`.

    Raises:
        SourceRefused, DataRefused: the data is unfit; nothing was created.
        TargetRefused, OwnershipRefused, AwsFailed: as they say.
        RunBusy: another process works on the run.
    """
    settings = Settings.load()
    aws = Aws(settings)
    run_id = run_id or naming.run_id_for(source)
    with run_lock(settings.run_dir(run_id)):
        located = await locate(source, settings)
        memory = await asyncio.to_thread(Memory, located, settings)
        dataset = await find_unchanged(located, memory, aws)
        if dataset is not None:
            await adopt(dataset, aws, run_id)
            await _report(dataset, staging_markdown(dataset, (), (), UploadSummary().text))
        else:
            outcome = await judge_and_upload(located, memory, aws, run_id)
            dataset, judged = outcome.dataset, outcome.judged
            await _report(dataset, staging_markdown(dataset, judged.quarantined, judged.warnings, outcome.sent.text))
        save_record(settings.run_dir(run_id), "stage_data", dataset)
    return dataset


async def _report(dataset: DatasetRef, markdown: str) -> None:
    await acreate_markdown_artifact(markdown, key="stage-data", description=dataset.uri)
