"""Tests the load test on a real localaws: instances, function processes and CloudWatch agree with the counts."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load.photos import fetch_test_images
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, LoadReport
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.polling import wait_until
from tests.tasks.load.void_runs import even_if_void

OPTIONS = GeneratorOptions(warm_up_seconds=0.5, drain_seconds=20)
ANSWERING = "def handler(event, context):\n    return {'statusCode': 200, 'body': str(len(event['image']))}\n"


def load(localaws: RunningLocalAws, target: EndpointRef | FunctionRef, image: Path, run_dir: Path) -> LoadReport:
    settings = Settings.load(endpoint_url=localaws.url, region="us-east-1")
    sent: dict[str, Any] = {"images": [image], "rate_per_second": 60, "seconds": 2, "options": OPTIONS}
    return even_if_void(run_dir, lambda: run_load_test(settings, run_dir, target=target, **sent))


def test_an_endpoints_own_count_in_cloudwatch_equals_the_load_tests(
    localaws: RunningLocalAws, bench: Workbench, image: Path, tmp_path: Path
) -> None:
    name = bench.endpoint(bench.model(), instances=2)
    target = EndpointRef(name, "arn", "config", "model", "AllTraffic", "ml.m5.large", 2, "s3://b/k", 1.0)
    report = load(localaws, target, image, tmp_path)
    assert (report.requests, report.failures) == (report.answered, 0)
    assert report.p90_ms is not None
    dimensions = {"EndpointName": name, "VariantName": "AllTraffic"}
    everything = report.requests + report.warm_up_requests
    seen = wait_until(
        lambda: localaws.metric_sum("AWS/SageMaker", "Invocations", dimensions),
        f"all {everything} requests in CloudWatch",
        holds=lambda counted: counted >= everything,
    )
    assert seen == everything


def test_a_function_is_loaded_through_its_alias_with_the_image_inside(
    localaws: RunningLocalAws, image: Path, tmp_path: Path
) -> None:
    functions = Functions.of(localaws)
    name = functions.make(ANSWERING)
    version = functions.aws.publish_version(FunctionName=name)["Version"]
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    target = FunctionRef(name, "arn", version, "live", "alias-arn", "role", "role-arn", "sha", "endpoint")
    report = load(localaws, target, image, tmp_path)
    assert (report.requests, report.errors) == (report.answered, {})
    assert report.target == f"{name}:live"


def staged(localaws: RunningLocalAws, bucket: str, photos: list[bytes]) -> DatasetRef:
    s3 = localaws.client("s3")
    s3.create_bucket(Bucket=bucket)
    for shard, photo in enumerate(photos):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(f"00000/{shard:08d}.jpg")
            member.size = len(photo)
            tar.addfile(member, io.BytesIO(photo))
        s3.put_object(Bucket=bucket, Key=f"datasets/d/test/shard-{shard:05d}.tar", Body=buffer.getvalue())
    return DatasetRef(bucket, "datasets/d", "d", "name", ("a",), {"test": {"a": len(photos)}}, 1, 0, "zip")


def test_images_of_the_load_are_the_first_of_the_staged_test_split(localaws: RunningLocalAws, tmp_path: Path) -> None:
    aws = Aws(Settings.load(endpoint_url=localaws.url, region="us-east-1"))
    dataset = staged(localaws, "load-images", [b"one", b"two", b"three"])
    paths = fetch_test_images(aws, dataset, tmp_path / "images", count=2)
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert {path.suffix for path in paths} == {".jpg"}


def test_a_split_without_an_image_cannot_be_a_load(localaws: RunningLocalAws, tmp_path: Path) -> None:
    aws = Aws(Settings.load(endpoint_url=localaws.url, region="us-east-1"))
    with pytest.raises(StageFailed, match="s3://load-none/datasets/d/test/ holds no image"):
        fetch_test_images(aws, staged(localaws, "load-none", []), tmp_path, count=2)
