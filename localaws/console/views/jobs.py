"""Training, tuning and processing jobs: the lists, and one of each with its hosts, phases, metrics and log."""

from collections.abc import Mapping
from typing import Any

from localaws.console.account import Account
from localaws.console.rendering import paged
from localaws.console.views.missing import Missing

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
PROCESSING_LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
MOST_LISTED = 50  # of the kinds of which there are few


def listed(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the training jobs, the newest first, and the newest tuning and processing jobs."""
    jobs = list(account.sagemaker.training_jobs.values())[::-1]
    if wanted := query.get("status", ""):
        jobs = [each for each in jobs if each.training_job_status == wanted]
    tuning = list(account.sagemaker.hyper_parameter_tuning_jobs.values())[::-1]
    page = paged(jobs, query)
    page["items"] = [_row(each) for each in page["items"]]
    processing = list(account.sagemaker.processing_jobs.values())[::-1]
    return {
        "jobs": page,
        "tuning": [each.summary() for each in tuning[:MOST_LISTED]],
        "processing": [{**each.summary(), "request": each.request} for each in processing[:MOST_LISTED]],
        "status": wanted,
    }


def one(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a training job.

    Raises:
        Missing: there is none of that name.
    """
    name = query.get("name", "")
    job = account.sagemaker.training_jobs.get(name)
    if job is None:
        raise Missing(f"training job {name}")
    return {
        "job": job.describe(),
        "request": job.request,
        "metrics": sorted(job.shown_metrics().items()),
        "lines": account.log_lines(LOG_GROUP, prefix=f"{name}/"),
    }


def tuning(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a tuning job with its training jobs.

    Raises:
        Missing: there is none of that name.
    """
    name = query.get("name", "")
    job = account.sagemaker.hyper_parameter_tuning_jobs.get(name)
    if job is None:
        raise Missing(f"tuning job {name}")
    return {"job": job.describe(), "strategy": job.request.strategy, "trials": paged(_trials(job), query)}


def processing(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a processing job.

    Raises:
        Missing: there is none of that name.
    """
    name = query.get("name", "")
    job = account.sagemaker.processing_jobs.get(name)
    if job is None:
        raise Missing(f"processing job {name}")
    lines = account.log_lines(PROCESSING_LOG_GROUP, prefix=f"{name}/")
    return {"job": job.describe(), "request": job.request, "lines": lines}


def _trials(job: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": trial.job.training_job_name,
            "status": trial.job.training_job_status,
            "values": dict(trial.values),
            "objective": trial.shown_value,
        }
        for trial in reversed(job.trials)
    ]


def _row(job: Any) -> dict[str, Any]:
    request = job.request
    return {**job.summary(), "hosts": request.instance_count, "type": request.instance_type, "spot": request.is_spot}
