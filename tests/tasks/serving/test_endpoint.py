"""Tests that a deployment checks the served configuration, not only InService, and the content of answers."""

import dataclasses
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.account.prices import choose_hosting_instance
from tasks.run.errors import OwnershipRefused, StageFailed
from tasks.run.naming import tag_list
from tasks.run.records import DatasetRef, FunctionRef
from tasks.run.settings import Settings
from tasks.serving.asking import best_of, scores_of
from tasks.serving.endpoint import ensure_endpoint, keep_creation_seconds
from tasks.serving.endpoint_plan import Capture, EndpointPlan, serving_variables
from tasks.serving.smoke import smoke_test
from tests.scripted import Scripted, not_found
from tests.tasks.run.test_waiting import ticking

PLAN = EndpointPlan("r", "image", "s3://b/model.tar.gz", "arn:role", choose_hosting_instance("us-east-1"), 1)
ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/kennel-r-endpoint"


def account(
    after: dict[str, Any],
    before: dict[str, Any] | None = None,
    tags: Any = None,
    former: int | None = None,
    asked: dict[str, Any] | None = None,
) -> Scripted:
    """A fake account that describes the endpoint as `before` until it is changed, and as `after` from then on.

    The configuration "old" asks for `former` instances; `asked` gets the arguments of the last change.
    """
    state = {"now": before}

    def change(**arguments: Any) -> dict[str, str]:
        state["now"] = after
        (asked if asked is not None else {}).update(arguments)
        return {"EndpointArn": ARN}

    def describe(**arguments: Any) -> Any:
        return not_found("DescribeEndpoint")() if state["now"] is None else {"EndpointArn": ARN, **state["now"]}

    def describe_config(**arguments: Any) -> Any:
        if former is None or arguments["EndpointConfigName"] != "old":
            return not_found("DescribeEndpointConfig")()
        return {"ProductionVariants": [{"InitialInstanceCount": former}]}

    return Scripted(
        sagemaker={
            "describe_model": not_found("DescribeModel"),
            "create_model": lambda **_: {"ModelArn": "arn:model"},
            "describe_endpoint_config": describe_config,
            "create_endpoint_config": lambda **_: {"EndpointConfigArn": "arn:config"},
            "describe_endpoint": describe,
            "create_endpoint": change,
            "update_endpoint": change,
            "list_tags": lambda **_: {"Tags": tag_list("r") if tags is None else tags},
        }
    )


def in_service(config: str, **more: Any) -> dict[str, Any]:
    variants = [{"CurrentInstanceCount": 3}]
    return {"EndpointStatus": "InService", "EndpointConfigName": config, "ProductionVariants": variants, **more}


def test_the_container_is_told_of_limits_that_are_not_the_usual_ones() -> None:
    usual, raised = Settings(), Settings(max_image_pixels=100_000_000)
    assert set(serving_variables(usual)) == {"SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY"}
    assert serving_variables(raised)["KENNEL_MAX_IMAGE_PIXELS"] == "100000000"
    assert dataclasses.replace(PLAN, variables=serving_variables(raised)).model_name != PLAN.model_name


def test_an_endpoint_in_service_with_the_former_configuration_was_rolled_back_and_that_is_a_failure(
    tmp_path: Path,
) -> None:
    scripted = account(in_service("old", FailureReason="alarm"), before=in_service("old"))
    with pytest.raises(StageFailed, match="AWS rolled back: it serves old") as caught:
        ensure_endpoint(scripted.run(tmp_path), PLAN)
    assert caught.value.why == "alarm"


def test_an_endpoint_that_failed_brings_aws_reason(tmp_path: Path) -> None:
    failed = {"EndpointStatus": "Failed", "EndpointConfigName": PLAN.config_name, "FailureReason": "ping never passed"}
    with pytest.raises(StageFailed, match="it ended in status Failed") as caught:
        ensure_endpoint(account(failed).run(tmp_path), PLAN)
    assert caught.value.why == "ping never passed"


def test_a_new_configuration_updates_the_endpoint_and_reports_the_instances_that_it_kept(tmp_path: Path) -> None:
    scripted = account(in_service(PLAN.config_name), before=in_service("old"))
    endpoint = ensure_endpoint(scripted.run(tmp_path), PLAN)
    assert endpoint.instance_count == 3
    assert "update_endpoint" in scripted.calls
    assert "create_endpoint" not in scripted.calls


def test_what_an_endpoint_keeps_of_requests_is_in_its_configuration_and_in_the_name_of_that(tmp_path: Path) -> None:
    keeps = dataclasses.replace(PLAN, capture=Capture(25, "s3://b/runs/r/captured", "key", 30))
    config = keeps.capturing["DataCaptureConfig"]
    ref = ensure_endpoint(account(in_service(keeps.config_name)).run(tmp_path), keeps)

    assert PLAN.capturing == {} and keeps.config_name != PLAN.config_name
    assert (
        dataclasses.replace(keeps, capture=Capture(25, "s3://b/runs/r/captured", "key", 7)).capturing == keeps.capturing
    )
    assert (config["InitialSamplingPercentage"], config["KmsKeyId"]) == (25, "key")
    assert config["CaptureContentTypeHeader"] == {"JsonContentTypes": ["application/json"]}
    assert ref.capture_days == 30


def test_the_seconds_of_an_endpoint_are_kept_while_it_lives_and_no_longer(tmp_path: Path) -> None:
    born = datetime(2026, 1, 1, tzinfo=UTC)
    kept = ensure_endpoint(account(in_service(PLAN.config_name, CreationTime=born)).run(tmp_path), PLAN)
    again = dataclasses.replace(kept, seconds=0.1)
    reborn = dataclasses.replace(again, created=(born + timedelta(days=1)).isoformat())
    assert kept.created == "2026-01-01T00:00:00+00:00"
    assert keep_creation_seconds(again, kept) == kept
    assert keep_creation_seconds(reborn, kept) == reborn


@pytest.mark.parametrize(("former", "keeps"), [(1, True), (2, False)])
def test_the_scaled_count_is_kept_unless_another_one_is_asked_for(tmp_path: Path, former: int, keeps: bool) -> None:
    asked: dict[str, Any] = {}
    scripted = account(in_service(PLAN.config_name), before=in_service("old"), former=former, asked=asked)
    ensure_endpoint(scripted.run(tmp_path), PLAN)
    assert asked["RetainAllVariantProperties"] is keeps


def test_somebody_elses_endpoint_of_that_name_is_left_alone(tmp_path: Path) -> None:
    scripted = account(in_service(PLAN.config_name), before=in_service("theirs"), tags=[])
    with pytest.raises(OwnershipRefused, match="it exists already"):
        ensure_endpoint(scripted.run(tmp_path), PLAN)
    assert "update_endpoint" not in scripted.calls


SHARD = io.BytesIO()
with tarfile.open(fileobj=SHARD, mode="w") as _tar:
    _member = tarfile.TarInfo("00001/00000000.jpg")
    _member.size = 3
    _tar.addfile(_member, io.BytesIO(b"jpg"))
DATA = DatasetRef("b", "datasets/d", "d", "n", ("a", "b"), {"test": {"a": 1, "b": 1}}, 1, 0, "sample")
FUNCTION = FunctionRef("f", "arn:f", "1", "live", "arn:f:live", "role", "arn:role", "00", "e")
REFUSED = json.dumps({"statusCode": 500, "body": json.dumps({"error": {"code": "Misconfigured", "message": "no"}})})


def trying(*answers: str) -> Scripted:
    """A fake account whose function gives these answers in turn."""
    left = iter(answers)
    return Scripted(
        s3={
            "list_objects_v2": lambda **_: {"Contents": [{"Key": "k"}]},
            "get_object": lambda **_: {"Body": io.BytesIO(SHARD.getvalue())},
        },
        **{"lambda": {"invoke": lambda **_: {"Payload": io.BytesIO(next(left).encode())}}},
    )


def test_a_function_whose_role_is_new_is_given_time_to_be_let_in() -> None:
    result = smoke_test(trying(REFUSED, REFUSED, answer()).aws, FUNCTION, DATA, waiting=ticking(1))
    assert (result.predicted_label, result.true_label, result.score) == ("b", "b", 0.75)


def test_a_function_that_may_never_use_its_endpoint_fails_the_smoke_test() -> None:
    with pytest.raises(StageFailed, match="answered 500") as caught:
        smoke_test(trying(*[REFUSED] * 20).aws, FUNCTION, DATA, waiting=ticking(10))
    assert "Misconfigured" in caught.value.why


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_function_whose_endpoint_does_not_serve_yet_is_tried_again_for_minutes(status: int) -> None:
    said: list[str] = []
    tries = trying(*[answer(status=status)] * 12, answer())
    result = smoke_test(tries.aws, FUNCTION, DATA, waiting=ticking(3, said.append))
    assert result.predicted_label == "b"
    assert any(f"does not serve yet (status {status})" in line for line in said)


def test_a_function_whose_endpoint_never_serves_fails_the_smoke_test() -> None:
    with pytest.raises(StageFailed, match="answered 503"):
        smoke_test(trying(*[answer(status=503)] * 100).aws, FUNCTION, DATA, waiting=ticking(20))


def answer(status: int = 200, **body: Any) -> str:
    return json.dumps({"statusCode": status, "body": json.dumps({"labels": ["a", "b"], "scores": [0.25, 0.75]} | body)})


def test_a_good_answer_gives_its_best_label() -> None:
    assert best_of(scores_of(answer(), ("a", "b"), "smoke test")) == ("b", 0.75)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (answer(status=502), "answered 502"),
        (answer(labels=["b", "a"]), "2 scores and 2 labels"),
        (answer(scores=[1.0]), "1 scores and 2 labels"),
        (answer(scores=[3.0, -2.0]), "not probabilities"),
        (answer(scores=[0.2, 0.2]), "not probabilities"),
        ('{"statusCode": 200}', "malformed"),
        ("null", "malformed"),
    ],
)
def test_an_answer_that_breaks_the_contract_fails_the_smoke_test(text: str, said: str) -> None:
    with pytest.raises(StageFailed, match=said):
        scores_of(text, ("a", "b"), "smoke test")
