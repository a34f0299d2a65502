"""The first page: the server, how much of each kind there is and in which state, alarms and what failed last."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from localaws.console.account import Account

MOST_FAILURES = 10


def values(account: Account, query: Mapping[str, str]) -> dict[str, Any]:  # noqa: ARG001 as every page's
    """Return the server's settings, the counts and the last requests that failed."""
    failed = [each for each in account.core.feed.newest() if each.status >= 400]
    alarms = [each for each in account.alarms if each.state_value == "ALARM"]
    return {
        "core": account.core,
        "kinds": [*_kinds(account)],
        "alarms": alarms,
        "failed": failed[:MOST_FAILURES],
    }


def _kinds(account: Account) -> Iterable[tuple[str, str, list[tuple[str, int]]]]:
    sagemaker, instances = account.sagemaker, account.instances
    yield "jobs", "Training jobs", _states(each.training_job_status for each in list(sagemaker.training_jobs.values()))
    tuning = list(sagemaker.hyper_parameter_tuning_jobs.values())
    yield "jobs", "Tuning jobs", _states(each.status for each in tuning)
    processing = list(sagemaker.processing_jobs.values())
    yield "jobs", "Processing jobs", _states(each.processing_job_status for each in processing)
    yield "endpoints", "Endpoints", _states(each.endpoint_status for each in list(sagemaker.endpoints.values()))
    yield "functions", "Functions", _states("Active" for _ in account.functions)
    yield "instances", "EC2 instances", _states(each.state for each in instances)
    yield (
        "notebooks",
        "Notebook instances",
        _states(each.status for each in list(sagemaker.notebook_instances.values())),
    )
    yield "buckets", "Buckets", _states("present" for _ in account.buckets)
    yield "roles", "Roles", _states("present" for _ in account.iam.roles)
    yield "alarms", "Alarms", _states(each.state_value for each in account.alarms)


def _states(states: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(states).items())
