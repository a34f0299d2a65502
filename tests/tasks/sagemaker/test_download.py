"""The download of a training on SageMaker: once, from a real S3, with the log of all hosts and the metrics."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.account import objects
from tasks.account.bucket import ensure_bucket
from tasks.account.role_policies import TRAINING_LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, StageFailed
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tasks.sagemaker.download import (
    FOLDER,
    LOG,
    MODEL,
    DownloadedTraining,
    download_log,
    download_result,
    is_downloaded,
    load_download,
)
from tests.counting_proxy import Calls, Fault
from tests.tasks.sagemaker.jobs import archive, meta
from tests.tasks.sagemaker.jobs import description as described
from tests.tasks.sagemaker.jobs import plan as planned

JOB = "kennel-r-train-1"
KEY = f"runs/r/output/{JOB}/output/model.tar.gz"


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    made = Aws(Settings(endpoint_url=calls.url, home=tmp_path / "home", runs=tmp_path / "runs"))
    ensure_bucket(Run(made, "r"))
    return made


@pytest.fixture
def run(aws: Aws) -> Run:
    return Run(aws, "r")


@pytest.fixture
def folder(run: Run) -> Path:
    return run.folder / FOLDER


def put_model(aws: Aws, content: dict[str, Any]) -> bytes:
    """Store a model as a job would, and return its bytes."""
    data = archive({"model.safetensors": b"0" * 1000, "meta.json": json.dumps(content).encode()})
    objects.put_object(aws, aws.bucket, KEY, data, content_type="application/gzip")
    return data


def description(aws: Aws) -> dict[str, Any]:
    place = {"S3ModelArtifacts": f"s3://{aws.bucket}/{KEY}"}
    return {**described(), "TrainingJobName": JOB, "ModelArtifacts": place}


def write_log(aws: Aws, job: str) -> None:
    """Write two lines of each of two hosts, whose times interleave."""
    logs = aws.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=TRAINING_LOG_GROUP)["logGroups"]:
        logs.create_log_group(logGroupName=TRAINING_LOG_GROUP)
    for host in (1, 2):
        stream = f"{job}/algo-{host}-1700000000"
        logs.create_log_stream(logGroupName=TRAINING_LOG_GROUP, logStreamName=stream)
        events = [{"timestamp": 1_795_000_000_000 + 10 * line + host, "message": f"line {line}"} for line in (1, 2)]
        logs.put_log_events(logGroupName=TRAINING_LOG_GROUP, logStreamName=stream, logEvents=events)


def test_model_log_and_metrics_are_kept_and_known_again(aws: Aws, run: Run, folder: Path) -> None:
    data = put_model(aws, meta())
    write_log(aws, JOB)
    model = download_result(run, planned(), description(aws))
    assert (folder / MODEL).read_bytes() == data and model.test_accuracy == 0.875
    hosts = [line.split(" ", 1)[1] for line in (folder / LOG).read_text().splitlines()]
    assert hosts == ["algo-1 | line 1", "algo-2 | line 1", "algo-1 | line 2", "algo-2 | line 2"]
    metrics = json.loads(run.path(DownloadedTraining).read_bytes())
    assert metrics["metrics"]["test_accuracy"] == metrics["reported"]["test_accuracy"] == 0.875
    assert (metrics["log_lines"], metrics["model_bytes"], metrics["job_name"]) == (4, len(data), JOB)
    assert is_downloaded(run, description(aws))
    assert sorted(path.name for path in folder.iterdir()) == sorted([MODEL, LOG, "metrics.json"])
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}


def test_the_model_is_downloaded_once(aws: Aws, calls: Calls) -> None:
    put_model(aws, meta())
    download_result(Run(aws, "r"), planned(), description(aws))
    assert [call for call in calls.seen if call == f"GET /{aws.bucket}/{KEY}"] == [f"GET /{aws.bucket}/{KEY}"]


def test_a_later_job_of_the_same_name_is_not_taken_for_the_kept_one(aws: Aws, run: Run, folder: Path) -> None:
    put_model(aws, meta())
    download_result(run, planned(), description(aws))
    later = {**description(aws), "CreationTime": description(aws)["TrainingEndTime"]}
    assert not is_downloaded(run, later)
    assert not is_downloaded(run, {**description(aws), "TrainingJobName": "another"})


def test_a_file_that_was_shortened_does_not_count_as_kept(aws: Aws, run: Run, folder: Path) -> None:
    put_model(aws, meta())
    download_result(run, planned(), description(aws))
    (folder / MODEL).write_bytes(b"short")
    assert load_download(run) is None


def test_a_model_that_is_refused_replaces_nothing(aws: Aws, run: Run, folder: Path) -> None:
    good = put_model(aws, meta())
    download_result(run, planned(), description(aws))
    put_model(aws, meta(data_digest="another"))
    with pytest.raises(StageFailed, match="does not agree"):
        download_result(run, planned(), description(aws))
    assert (folder / MODEL).read_bytes() == good and load_download(run) is not None
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def told(described: dict[str, Any]) -> bytes:
    """Return a job's description as SageMaker writes it: times are numbers."""
    times = {name: each.timestamp() for name, each in described.items() if isinstance(each, datetime)}
    required = {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "StoppingCondition": {},
    }
    return json.dumps({**described, **required, **times}).encode()


def test_metrics_that_come_after_the_jobs_end_are_asked_for_again(aws: Aws, calls: Calls, run: Run) -> None:
    put_model(aws, meta())
    whole = description(aws)
    early = {**whole, "FinalMetricDataList": []}
    operation = "SageMaker.DescribeTrainingJob"
    calls.faults += [Fault(operation, instead=(200, told(each))) for each in (early, whole)]
    download_result(run, planned(), early)
    found = load_download(run)
    assert found is not None and found.reported == {"test_accuracy": 0.875}
    assert calls.seen.count(operation) == 2


def test_without_metrics_of_the_job_those_of_the_model_count_with_a_warning(
    aws: Aws, calls: Calls, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    put_model(aws, meta())
    early = {**description(aws), "FinalMetricDataList": []}
    calls.faults.append(Fault("SageMaker.DescribeTrainingJob", instead=(200, told(early)), times=100))
    aws.target = aws.target.model_copy(update={"metric_delay_seconds": 1.5})
    assert download_result(run, planned(), early).test_accuracy == 0.875
    assert f"WARNING: SageMaker told no metrics of {JOB}" in caplog.text
    with pytest.raises(StageFailed, match="does not agree"):
        put_model(aws, meta(data_digest="another"))
        download_result(run, planned(), early)


def test_a_model_that_is_gone_is_an_error_of_awss(aws: Aws, run: Run, folder: Path) -> None:
    with pytest.raises(AwsFailed):
        download_result(
            run, planned(), {**description(aws), "ModelArtifacts": {"S3ModelArtifacts": f"s3://{aws.bucket}/x"}}
        )
    assert load_download(run) is None


def test_the_log_of_a_job_that_failed_is_kept_too(aws: Aws, run: Run, folder: Path) -> None:
    write_log(aws, "kennel-r-failed")
    assert download_log(run, "kennel-r-failed") == 4
    assert (folder / LOG).read_text().count("algo-2 |") == 2


def test_the_model_of_an_ec2_training_is_another_file(aws: Aws, run: Run, folder: Path) -> None:
    own = folder.parent / MODEL
    own.parent.mkdir(parents=True)
    own.write_bytes(b"EC2's")
    put_model(aws, meta())
    download_result(run, dataclasses.replace(planned()), description(aws))
    assert own.read_bytes() == b"EC2's"
