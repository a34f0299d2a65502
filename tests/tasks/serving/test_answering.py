"""Tests on localaws that an endpoint serves when each of its instances has classified a photo, not when InService."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, WaitTimedOut
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tasks.serving.answering import answers_needed, wait_until_each_answers
from tasks.serving.instances import set_instance_count
from tests.counting_proxy import Calls, Fault
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench

PHOTO = b"\xff\xd8\xff a photo"


@pytest.fixture(scope="module")
def endpoint(bench: Workbench) -> EndpointRef:
    return EndpointRef(
        bench.endpoint(bench.model()), "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/model.tar.gz", 1.0
    )


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs", max_attempts=1))


def model_answers(endpoint: EndpointRef, status: int, *, times: int) -> Fault:
    """Let the container answer a photo with `status`, as SageMaker tells it; TorchServe gives 503 while it loads."""
    told = {"OriginalStatusCode": status, "OriginalMessage": "Worker not available", "Message": "Received server error"}
    headers = (("x-amzn-errortype", "ModelError"), ("content-type", "application/json"))
    return Fault(invoke(endpoint), instead=(424, json.dumps(told).encode()), times=times, headers=headers)


def invoke(endpoint: EndpointRef) -> str:
    return f"POST /endpoints/{endpoint.name}/invocations"


def test_an_endpoint_in_service_whose_model_still_loads_is_waited_for(
    aws: Aws, calls: Calls, endpoint: EndpointRef
) -> None:
    calls.faults.append(model_answers(endpoint, 503, times=2))
    assert wait_until_each_answers(aws, endpoint, PHOTO, instances=1) > 1.0
    assert calls.seen.count(invoke(endpoint)) == 3


def test_what_answers_at_once_took_no_time(aws: Aws, calls: Calls, endpoint: EndpointRef) -> None:
    assert wait_until_each_answers(aws, endpoint, PHOTO, instances=1) == 0.0
    assert calls.seen.count(invoke(endpoint)) == 1


def test_a_model_that_never_loads_ends_the_wait_with_its_answer(aws: Aws, calls: Calls, endpoint: EndpointRef) -> None:
    calls.faults.append(model_answers(endpoint, 503, times=100))
    with pytest.raises(WaitTimedOut, match=r"a photo was answered with .*ModelError") as caught:
        wait_until_each_answers(aws, endpoint, PHOTO, instances=1, deadline_seconds=1.5)
    assert "kennel logs --source endpoint" in caught.value.next_command


def test_a_photo_that_the_model_refuses_is_not_sent_again(aws: Aws, calls: Calls, endpoint: EndpointRef) -> None:
    calls.faults.append(model_answers(endpoint, 415, times=100))
    with pytest.raises(AwsFailed, match="ModelError"):
        wait_until_each_answers(aws, endpoint, PHOTO, instances=1)
    assert calls.seen.count(invoke(endpoint)) == 1


@pytest.mark.parametrize(("instances", "answers"), [(1, 1), (2, 11), (4, 29)])
def test_enough_answers_in_a_row_leave_no_instance_out(instances: int, answers: int) -> None:
    assert answers_needed(instances) == answers
    if instances > 1:
        assert instances * (1 - 1 / instances) ** answers <= 0.001 < instances * (1 - 1 / instances) ** (answers - 1)


def test_an_added_instance_serves_from_its_first_answer_on(aws: Aws, calls: Calls, endpoint: EndpointRef) -> None:
    begun = time.monotonic()
    calls.faults.append(model_answers(endpoint, 503, times=2))
    seconds = set_instance_count(aws, endpoint, 2, photo=PHOTO)
    took = time.monotonic() - begun
    assert calls.seen.count(invoke(endpoint)) == 2 + answers_needed(2)
    assert 1.0 < seconds <= took, "two failed photos, a second apart, belong to the start"
    set_instance_count(aws, endpoint, 1, photo=PHOTO)
