"""The staging jobs of a run, as its ledger names them: stops those that nobody waits for, and keeps what each took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tasks.account import objects
from tasks.account.role_policies import staging_prefix
from tasks.processing import area as areas
from tasks.processing.job import describe_staging
from tasks.run.errors import KennelError, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.records import StagingAttempt, StagingJobs
from tasks.run.statuses import PROCESSING_JOB
from tasks.run.waiting import say, wait_for

STOP_SECONDS = 600.0


def stop_others(run: Run, name: str) -> None:
    """Stop the run's staging jobs but one, and wait for their end: nobody would answer what they find.

    Raises:
        WaitTimedOut: one did not stop.
        AwsFailed: SageMaker refused.
    """
    for each, description in _jobs(run):
        if each != name and PROCESSING_JOB.is_pending(description["ProcessingJobStatus"]):
            say(f"processing job {each}: stopped, because this command stages by {name}")
            _stop(run, each)


def _stop(run: Run, name: str) -> None:
    def status() -> str:
        return str((describe_staging(run.aws, name) or {"ProcessingJobStatus": "Stopped"})["ProcessingJobStatus"])

    def is_stopping() -> bool:
        return status() == "Stopping" or PROCESSING_JOB.has_settled(status())

    def ended() -> tuple[bool | None, str]:
        found = status()
        return true_or_none(PROCESSING_JOB.has_settled(found)), found

    if not is_stopping():
        send = partial(run.aws.client("sagemaker").stop_processing_job, ProcessingJobName=name)
        with aws_boundary(f"processing job {name}"):
            carried_out(f"processing job {name}", send, lambda: true_or_none(is_stopping()))
    wait_for(run.aws.target, f"processing job {name}", ended, deadline_seconds=STOP_SECONDS)


def settle_attempts(run: Run) -> None:
    """Delete the staged bytes that the run's ended jobs left, of failed ones also the shards; keep what each job took.

    An error is told and not raised: it is no reason to lose the outcome of the staging, and the next command does it.
    """
    try:
        ended = [(name, each) for name, each in _jobs(run) if PROCESSING_JOB.has_settled(each["ProcessingJobStatus"])]
        for name, each in ended:
            has_failed = PROCESSING_JOB.has_failed(each["ProcessingJobStatus"])
            for folder in (areas.PARTS, areas.MADE) if has_failed else (areas.PARTS,):
                objects.delete_prefix(run.aws, run.aws.bucket, f"{staging_prefix(run.id)}/{name}/{folder}/")
        if ended:
            _keep(run, [_attempt(name, each) for name, each in ended])
    except KennelError as error:
        say(f"WARNING: what the staging jobs of run {run.id} left was not removed: {error.what}: {error.why}")


def _keep(run: Run, ended: list[StagingAttempt]) -> None:
    """Keep the jobs, and those of before that AWS knows no more."""
    kept = run.find(StagingJobs)
    before = () if kept is None else kept.attempts
    names = {each.job_name for each in ended}
    run.keep(StagingJobs((*(each for each in before if each.job_name not in names), *ended)))


def _jobs(run: Run) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the staging jobs of the run's ledger that AWS knows, with their descriptions."""
    for row in run.ledger.rows():
        if row.kind == "processing-job":
            description = describe_staging(run.aws, row.name)
            if description is not None:
                yield row.name, description


def _attempt(name: str, description: Mapping[str, Any]) -> StagingAttempt:
    began, ended = description.get("ProcessingStartTime"), description.get("ProcessingEndTime")
    seconds = 0.0 if began is None or ended is None else max(0.0, (ended - began).total_seconds())
    cluster = description["ProcessingResources"]["ClusterConfig"]
    status = str(description["ProcessingJobStatus"])
    return StagingAttempt(name, status, str(cluster["InstanceType"]), int(cluster["InstanceCount"]), seconds)
