"""A teardown copies models to this machine or reports their loss, against a real localaws of its own."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.account import objects
from tasks.account.bucket import ensure_bucket
from tasks.model.inputs import FILE_NAME
from tasks.model.weights import upload_weights
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.records import InstanceModel
from tasks.run.settings import Settings
from tasks.sagemaker.download import FOLDER, MODEL, DownloadedTraining
from tasks.teardown.models import StoredModel, _digest_path, _download_path, keep_models, local_copy
from tasks.teardown.teardown import TeardownReport, plan_teardown, tear_down
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault, counting_proxy

JOB = "kennel-run-1-train-00000000"
KEY = f"runs/run-1/output/{JOB}/output/model.tar.gz"
CONTENT = b"a model" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def calls(own_localaws: RunningLocalAws) -> Iterator[Calls]:
    with counting_proxy(own_localaws.url) as seen:
        yield seen


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    """An account with one run, whose model is in the bucket."""
    made = Aws(Settings(endpoint_url=calls.url, home=tmp_path / "home", runs=tmp_path / "runs"))
    run = Run(made, "run-1")
    bucket = ensure_bucket(run)
    with run.ledger.create("s3-prefix", f"s3://{bucket}/runs/run-1/", None):
        objects.put_object(made, bucket, KEY, CONTENT, content_type="application/gzip")
        objects.put_object(made, bucket, "runs/run-1/code/train.py", b"code", content_type="text/plain")
    return made


def removed(aws: Aws, lines: list[str]) -> TeardownReport:
    return tear_down(aws, None, yes=True, say=lines.append)


def is_bucket_there(aws: Aws) -> bool:
    return aws.bucket in {bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]}


def test_a_model_that_is_nowhere_else_is_fetched_before_it_goes(aws: Aws) -> None:
    lines: list[str] = []
    report = removed(aws, lines)
    (copy,) = report.models_kept
    assert Path(copy).read_bytes() == CONTENT and Path(copy).is_relative_to(aws.settings.run_dir("run-1"))
    assert report.models_lost == () and f"s3-prefix {aws.bucket}/runs/run-1" in report.removed
    assert [line for line in lines if "fetch" in line and KEY in line]
    assert not is_bucket_there(aws)


def test_a_model_that_the_run_keeps_is_not_fetched_again(aws: Aws, calls: Calls) -> None:
    folder = aws.settings.run_dir("run-1") / FOLDER
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(CONTENT)
    etag = objects.list_objects(aws, aws.bucket, KEY)[KEY].etag
    uri = f"s3://{aws.bucket}/{KEY}"
    kept = DownloadedTraining(JOB, "2026-01-01", uri, etag, DIGEST, len(CONTENT), {}, {}, 0)
    Run(aws, "run-1").keep(kept)
    calls.seen.clear()
    assert removed(aws, []).models_kept == (str(folder / MODEL),)
    assert f"GET /{aws.bucket}/{KEY}" not in calls.seen


def test_a_model_that_came_from_ec2_is_not_fetched_again(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "run-1")
    archive = run.folder / "TrainedModels" / MODEL
    archive.parent.mkdir(parents=True)
    archive.write_bytes(CONTENT)
    run.keep(from_ec2(f"s3://{aws.bucket}/{KEY}", str(archive)))
    calls.seen.clear()
    assert removed(aws, []).models_kept == (str(archive),)
    assert f"GET /{aws.bucket}/{KEY}" not in calls.seen


def test_a_damaged_copy_is_no_copy_and_the_model_is_fetched_before_it_goes(aws: Aws) -> None:
    run = Run(aws, "run-1")
    archive = run.folder / "TrainedModels" / MODEL
    archive.parent.mkdir(parents=True)
    archive.write_bytes(CONTENT[:-1] + b"?")
    run.keep(from_ec2(f"s3://{aws.bucket}/{KEY}", str(archive)))
    (copy,) = removed(aws, []).models_kept
    assert copy != str(archive) and Path(copy).read_bytes() == CONTENT


def test_the_damaged_digest_of_a_copy_is_no_digest(aws: Aws) -> None:
    stored = objects.list_objects(aws, aws.bucket, KEY)[KEY]
    model, run = StoredModel(aws.bucket, "run-1", JOB, stored), Run(aws, "run-1")
    path = _download_path(run, model)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    _digest_path(path).write_bytes(DIGEST.encode())
    assert local_copy(run, model) == path
    _digest_path(path).write_bytes(b"\xb9" + DIGEST.encode()[1:])
    assert local_copy(run, model) is None


def test_weights_that_were_damaged_in_the_bucket_are_sent_again(aws: Aws, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    path.write_bytes(CONTENT)
    sent = upload_weights(Run(aws, "run-1"), "resnet50", path)
    key = f"{sent.prefix}/{FILE_NAME}"
    objects.put_object(aws, sent.bucket, key, CONTENT[:-1] + b"?", content_type="application/octet-stream")
    upload_weights(Run(aws, "run-1"), "resnet50", path)
    assert aws.client("s3").get_object(Bucket=sent.bucket, Key=key)["Body"].read() == CONTENT


def from_ec2(uri: str, archive: str) -> InstanceModel:
    return InstanceModel(
        name="ec2-1",
        spec_digest="s",
        model_uri=uri,
        model_sha256=DIGEST,
        backbone="efficientnet_lite0",
        classes=("x", "y"),
        test_accuracy=1.0,
        test_images=8,
        metrics={},
        instance_type="c7i.xlarge",
        instance_count=1,
        instance_ids=("i-1",),
        instance_reason="a test",
        refused=(),
        spot=False,
        interruptions=0,
        seconds={},
        wall_seconds=1.0,
        billable_seconds=60.0,
        cost_usd=None,
        prices="none",
        data_digest="d",
        command=(),
        archive=archive,
        log_files=(),
    )


def test_a_record_that_cannot_be_read_stands_for_no_copy(aws: Aws) -> None:
    metrics = Run(aws, "run-1").path(DownloadedTraining)
    metrics.parent.mkdir(parents=True)
    metrics.write_text("{}")
    (copy,) = removed(aws, []).models_kept
    assert Path(copy).read_bytes() == CONTENT


def test_a_model_that_cannot_be_fetched_is_named_and_stays_without_yes(aws: Aws, calls: Calls) -> None:
    calls.faults.append(unreadable(aws))
    plan, _ = plan_teardown(aws, None)
    with pytest.raises(SettingsRefused, match="1 models have no other copy and would be lost") as caught:
        keep_models(aws, plan, yes=False, say=lambda _: None)
    assert KEY in str(caught.value) and "--yes" in caught.value.next_command
    calls.faults.clear()
    assert objects.read_object(aws, aws.bucket, KEY) == CONTENT
    removed(aws, [])


def test_with_yes_the_loss_is_said_in_one_line_and_reported(aws: Aws, calls: Calls) -> None:
    calls.faults.append(unreadable(aws))
    lines: list[str] = []
    report = removed(aws, lines)
    (lost,) = report.models_lost
    assert KEY in lost and report.models_kept == ()
    assert len([line for line in lines if line.startswith("  LOST") and KEY in line]) == 1
    assert not is_bucket_there(aws)


def test_a_model_larger_than_the_free_disk_is_said_to_be_lost(aws: Aws, calls: Calls) -> None:
    huge = b"<Size>900000000000000</Size>"
    length = f"<Size>{len(CONTENT)}</Size>".encode()
    objects.list_objects(aws, aws.bucket, "runs/run-1/")
    calls.faults.append(Fault(calls.seen[-1], change=lambda body: body.replace(length, huge), times=20))
    (lost,) = removed(aws, []).models_lost
    assert "MB free" in lost


def unreadable(aws: Aws) -> Fault:
    return Fault(f"HEAD /{aws.bucket}/{KEY}", instead=(403, b""), times=20)
