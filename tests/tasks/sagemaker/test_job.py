"""Which training job a repeated command takes up: its own, whole or running; never another's, never a failed one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tasks.run.errors import OwnershipRefused, StageFailed
from tasks.sagemaker.job import MAX_ATTEMPTS, find_job, start_by_sdk
from tasks.sagemaker.trainer import _compute, _distributed
from tests.scripted import Scripted, not_found, refuses
from tests.tasks.sagemaker.jobs import plan

PLAN = plan()
FIRST, SECOND = PLAN.base_name, f"{PLAN.base_name}-2"


def job(status: str, spec: str = PLAN.spec_digest) -> dict[str, Any]:
    model = {"S3ModelArtifacts": "s3://b/runs/r/output/model.tar.gz"}
    return {"TrainingJobStatus": status, "Environment": {"KENNEL_SPEC": spec}, "ModelArtifacts": model}


def account(jobs: Mapping[str, dict[str, Any]], *, has_model: bool = True) -> Scripted:
    def describe(**arguments: Any) -> Any:
        found = jobs.get(arguments["TrainingJobName"])
        return not_found("DescribeTrainingJob")() if found is None else found

    head = (lambda **_: {}) if has_model else refuses("HeadObject", "404", "Not Found")
    return Scripted(sagemaker={"describe_training_job": describe}, s3={"head_object": head})


@pytest.mark.parametrize("status", ["InProgress", "Completed", "Hatching"])
def test_a_job_of_this_plan_that_may_still_be_whole_or_is_so_is_adopted(status: str) -> None:
    found = find_job(account({FIRST: job(status)}).aws, PLAN)
    assert (found.name, found.description) == (FIRST, job(status))


def test_without_a_job_the_plans_own_name_is_free() -> None:
    found = find_job(account({}).aws, PLAN)
    assert (found.name, found.description) == (FIRST, None)


@pytest.mark.parametrize("status", ["Failed", "Stopped", "Stopping"])
def test_a_failed_or_stopped_attempt_is_followed_by_another_one(status: str) -> None:
    found = find_job(account({FIRST: job(status)}).aws, PLAN)
    assert (found.name, found.description) == (SECOND, None)


def test_a_completed_job_whose_model_was_removed_is_made_again() -> None:
    assert find_job(account({FIRST: job("Completed")}, has_model=False).aws, PLAN).name == SECOND


def test_a_job_of_that_name_from_another_plan_is_refused() -> None:
    with pytest.raises(OwnershipRefused, match="it exists already"):
        find_job(account({FIRST: job("Completed", spec="another")}).aws, PLAN)


def test_a_job_that_the_sdk_cannot_describe_yet_is_started_and_a_refusal_is_raised() -> None:
    start_by_sdk(not_found("DescribeTrainingJob"), "DescribeTrainingJob")
    for start in (not_found("CreateTrainingJob"), refuses("DescribeTrainingJob", "Denied", "no")):
        with pytest.raises(ClientError):
            start_by_sdk(start, "DescribeTrainingJob")


def test_attempts_are_bounded() -> None:
    names = [FIRST, *(f"{FIRST}-{number}" for number in range(2, MAX_ATTEMPTS + 1))]
    with pytest.raises(StageFailed, match="20 attempts"):
        find_job(account(dict.fromkeys(names, job("Failed"))).aws, PLAN)


@pytest.mark.parametrize(("gib", "volume"), [(0, 30), (5, 30), (6, 32), (100.5, 221)])
def test_the_volume_of_a_job_has_room_for_the_data_twice(gib: float, volume: int) -> None:
    data = dataclasses.replace(PLAN.dataset, size_bytes=int(gib * 2**30))
    assert _compute(dataclasses.replace(PLAN, dataset=data)).volume_size_in_gb == volume


def test_only_hosts_with_gpus_start_their_processes_by_torchrun() -> None:
    gpus = dataclasses.replace(PLAN.instance, has_gpu=True)
    assert _distributed(PLAN) is None
    assert _distributed(dataclasses.replace(PLAN, instance=gpus)).process_count_per_node is None  # one for each GPU


def test_the_longest_run_id_still_gives_a_name_that_sagemaker_takes() -> None:
    plan = dataclasses.replace(PLAN, run_id="a" * 24)
    assert len(f"{plan.base_name}-{MAX_ATTEMPTS}") <= 63
