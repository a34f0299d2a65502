"""Data capture: what was asked and answered is in S3, in AWS's layout; what cannot be written is told in the log."""

import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from botocore.exceptions import ClientError

from localaws.sagemaker.endpoints import capture
from localaws.sagemaker.endpoints.capture import Capture, Invocation, Message
from localaws.sagemaker.endpoints.plan import CapturePlan
from tests.localaws.roles import trust
from tests.localaws.sagemaker.endpoints.endpoint_models import BUCKET, ECHO, Workbench, variant_row, workbench
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

PHOTO = bytes(range(256)) * 20
JSON_ONLY = {"JsonContentTypes": ["application/json"]}
KEY = re.compile(r"(?P<variant>\w+)/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl")
PLAN = CapturePlan(is_enabled=True, percentage=100, destination="s3://bucket/p", has_input=True, has_output=True)


def _config(prefix: str, *, bucket: str = BUCKET, modes: tuple[str, ...] = ("Input", "Output"), **more: Any) -> Any:
    return {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/{prefix}",
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
        **more,
    }


def _captured(bench: Workbench, prefix: str) -> dict[str, list[dict[str, Any]]]:
    """Return the records by their key below the prefix."""
    s3 = bench.localaws.client("s3")
    keys = [row["Key"] for row in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
    bodies = {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    return {
        key.removeprefix(f"{prefix}/"): [json.loads(line) for line in body.splitlines()] for key, body in bodies.items()
    }


def _start(bench: Workbench, config: Any, model: str | None = None, **parameters: Any) -> str:
    row = {"ModelName": model or bench.model()}
    endpoint = bench.start(bench.config(row, DataCaptureConfig=config, **parameters))
    assert bench.settled(endpoint)["EndpointStatus"] == "InService"
    return endpoint


def test_requests_and_answers_are_kept_in_awss_layout(bench: Workbench) -> None:
    prefix = bench.name()
    endpoint = _start(bench, _config(prefix, CaptureContentTypeHeader=JSON_ONLY))
    attributes = {"CustomAttributes": "trace=7", "InferenceId": "mine"}
    said = bench.runtime.invoke_endpoint(
        EndpointName=endpoint, Body=PHOTO, ContentType="image/jpeg; q=1", **attributes
    )["Body"].read()
    bench.invoke(endpoint, b'{"a": 1}', ContentType="application/json")
    bench.delete(endpoint)

    ((key, records),) = _captured(bench, prefix).items()
    photo, text = records
    assert (found := KEY.fullmatch(key.removeprefix(f"{endpoint}/"))) and found["variant"] == "AllTraffic"
    assert photo["captureData"]["endpointInput"] == {
        "observedContentType": "image/jpeg; q=1",
        "mode": "INPUT",
        "data": base64.b64encode(PHOTO).decode(),
        "encoding": "BASE64",
    }
    assert photo["captureData"]["endpointOutput"] == {
        "observedContentType": "application/json",
        "mode": "OUTPUT",
        "data": said.decode(),
        "encoding": "JSON",
    }
    about = photo["eventMetadata"]
    assert (about["inferenceId"], about["customAttributes"]) == ("mine", ["trace=7"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["inferenceTime"])
    assert re.fullmatch(r"[0-9a-f-]{36}", about["eventId"])
    assert text["captureData"]["endpointInput"]["data"] == '{"a": 1}'
    assert set(text["eventMetadata"]) == {"eventId", "inferenceTime"}
    assert {record["eventVersion"] for record in records} == {"0"}


def test_only_the_wanted_side_of_successful_invocations_is_kept(bench: Workbench) -> None:
    prefix, fails = bench.name(), ECHO.replace("return data", "return data or 1 / 0")
    endpoint = _start(bench, _config(prefix, modes=("Input",)), bench.model(fails))
    with pytest.raises(ClientError, match="ModelError"):
        bench.invoke(endpoint, b"")
    bench.invoke(endpoint)
    bench.delete(endpoint)

    (records,) = _captured(bench, prefix).values()
    assert [set(record["captureData"]) for record in records] == [{"endpointInput"}]


def test_descriptions_tell_the_capture_and_a_disabled_one_keeps_nothing(bench: Workbench) -> None:
    prefix = bench.name()
    given = _config(prefix, EnableCapture=False)
    endpoint = _start(bench, given)
    described = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
    config = bench.sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    bench.invoke(endpoint)

    summary = {"DestinationS3Uri": f"s3://{BUCKET}/{prefix}", "KmsKeyId": "", "CurrentSamplingPercentage": 100}
    assert config["DataCaptureConfig"] == given
    assert described["DataCaptureConfig"] == {**summary, "EnableCapture": False, "CaptureStatus": "Stopped"}

    row = {"ModelName": bench.model()}
    bench.sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName=bench.config(row, DataCaptureConfig=_config(prefix))
    )
    described = bench.settled(endpoint)
    bench.invoke(endpoint, b"second")
    bench.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=bench.config(row))
    ended = bench.settled(endpoint)

    assert described["DataCaptureConfig"] == {**summary, "EnableCapture": True, "CaptureStatus": "Started"}
    assert "DataCaptureConfig" not in ended
    (records,) = _captured(bench, prefix).values()
    assert [base64.b64decode(row["captureData"]["endpointInput"]["data"]) for row in records] == [b"second"]


def test_a_destination_outside_s3_is_refused(bench: Workbench) -> None:
    config = {**_config("p"), "DestinationS3Uri": "https://bucket/p"}
    with pytest.raises(ClientError, match="DestinationS3Uri https://bucket/p not supported by localaws"):
        bench.config({"ModelName": bench.model()}, DataCaptureConfig=config)


@pytest.mark.parametrize("obstacle", ["role", "bucket"])
def test_what_may_not_be_written_is_told_in_the_log_and_requests_go_on(bench: Workbench, obstacle: str) -> None:
    if obstacle == "bucket":
        config, model = _config("p", bucket="nobodys-bucket"), bench.model()
        why = "NoSuchBucket"
    else:
        config, model = _config(bench.name()), _model_of_a_role_that_may_only_read(bench)
        why = "not authorized to perform: s3:PutObject"
    endpoint = _start(bench, config, model)
    assert bench.invoke(endpoint)["size"] == 1
    bench.delete(endpoint)

    lines = wait_until(lambda: bench.log(endpoint), holds=lambda log: why in "\n".join(log))
    (line,) = [each for each in lines if each.startswith("data capture: ")]
    assert line.startswith(f"data capture: 1 records were not written to {config['DestinationS3Uri']}/{endpoint}/")


def _model_of_a_role_that_may_only_read(bench: Workbench) -> str:
    iam, name = bench.localaws.client("iam"), "kennel-reads-" + secrets.token_hex(4)
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("sagemaker"))["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "logs:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="reads", PolicyDocument=document)
    return Workbench(bench.localaws, arn, prefix=f"{bench.prefix}-r").model()


@pytest.fixture(scope="module")
def fast() -> Iterator[Workbench]:
    with scaled_server(scale=60) as server, workbench(server.localaws) as made:
        yield made


def test_records_arrive_within_a_minute_sealed_with_the_named_key(fast: Workbench) -> None:
    prefix, key = fast.name(), fast.localaws.client("kms").create_key()["KeyMetadata"]["Arn"]
    shadow = variant_row(VariantName="Shadow", ModelName=fast.model())
    endpoint = _start(fast, _config(prefix, KmsKeyId=key), ShadowProductionVariants=[shadow])
    fast.invoke(endpoint)

    found = wait_until(lambda: _captured(fast, prefix), holds=lambda objects: len(objects) == 2)
    (head,) = {
        fast.localaws.client("s3").head_object(Bucket=BUCKET, Key=f"{prefix}/{name}")["SSEKMSKeyId"] for name in found
    }
    events = {record["eventMetadata"]["eventId"] for records in found.values() for record in records}

    assert head == key
    assert {name.split("/")[1] for name in found} == {"AllTraffic", "Shadow"}
    assert len(events) == 1, "the production variant's record and the shadow's can be told to be of one request"


class _Slow:
    """An S3 that takes a file only when it is let go."""

    def __init__(self) -> None:
        self.is_free = threading.Event()
        self.stored: list[bytes] = []

    def store(self, file: BinaryIO, bucket: str, key: str) -> None:
        assert self.is_free.wait(60)
        self.stored.append(file.read())


def _capture(folder: Path, store: _Slow, told: list[str], plan: CapturePlan = PLAN) -> Capture:
    return Capture(
        plan,
        "endpoint",
        {"v": store},
        folder=folder / "captured",
        tell=lambda _, line: told.append(line),
        flush_seconds=0.01,
    )


def test_a_slow_s3_holds_up_nobody_and_memory_stays_bounded(tmp_path: Path) -> None:
    store, told = _Slow(), list[str]()
    capturing = _capture(tmp_path, store, told)
    body = b"x" * (6 * 1024 * 1024)
    for number in range(30):
        capturing.offer(Invocation("v", str(number), 1e9, Message("image/jpeg", body), Message(None, b"")))
    store.is_free.set()
    capturing.close()

    kept = [json.loads(line) for stored in store.stored for line in stored.splitlines()]
    missed = [int(found[1]) for line in told if (found := re.match(r"data capture: (\d+) records were missed", line))]
    assert len(kept) + sum(missed) == 30
    assert sum(missed) >= 30 - 2 * (capture.MOST_WAITING_BYTES // len(body)) > 0


def test_the_share_of_requests_is_sampled(tmp_path: Path) -> None:
    store, told = _Slow(), list[str]()
    shares = {}
    for percentage in (0, 25, 100):
        plan = CapturePlan(True, percentage, "s3://b/p", has_input=True, has_output=True)
        capturing = _capture(tmp_path / str(percentage), store, told, plan)
        shares[percentage] = sum(capturing.draw() is not None for _ in range(4000)) / 4000
        capturing.close()

    assert (shares[0], shares[100]) == (0, 1)
    assert abs(shares[25] - 0.25) < 0.03  # 4.4 standard deviations


def test_an_hour_has_objects_of_its_own(tmp_path: Path) -> None:
    store, told = _Slow(), list[str]()
    store.is_free.set()
    capturing = _capture(tmp_path, store, told)
    for moment in (3599.0, 3600.0):
        capturing.offer(Invocation("v", "e", moment, Message("text/csv", b"\xff"), Message("text/csv", b"1")))
    capturing.close()

    assert [len(each.splitlines()) for each in store.stored] == [1, 1]
    assert told == []
