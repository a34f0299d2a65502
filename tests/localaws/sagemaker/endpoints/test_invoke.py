"""InvokeEndpoint: handlers called as AWS's container calls them, errors in AWS's shapes, exact metrics."""

import asyncio
import json
import os
import socket
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.credentials import ContainerProvider
from botocore.exceptions import ClientError

from localaws.sagemaker.endpoints.connections import ConnectionPool
from localaws.sagemaker.endpoints.fleets import Fleet
from localaws.sagemaker.endpoints.router import EndpointRoute, InvocationRouter, VariantRoute
from localaws.sagemaker.model_server.application import ModelServer
from localaws.sagemaker.model_server.handlers import Answer, Handlers
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, pack
from tests.polling import wait_until

HANDLERS = """
import json, os
class BadInput(ValueError):
    status_code = 415
def model_fn(model_dir):
    return sorted(os.listdir(model_dir))
def input_fn(data, content_type, context):
    if data == b"unsupported":
        raise BadInput("this is no picture")
    return {"type": content_type, "attributes": context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")}
def predict_fn(data, model):
    if data["type"] == "application/x-crash":
        secret = "a detail of the stack"
        raise KeyError("labels")
    return {**data, "files": model, "names": {k: os.environ.get(k) for k in ("MINE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "OMP_NUM_THREADS")}}
def output_fn(prediction, accept, context):
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "seen")
    return json.dumps({**prediction, "accept": accept})
"""
DEFAULTS = """
def model_fn(model_dir): return 2.0
def predict_fn(data, model): return data * model
"""


@pytest.fixture(scope="module")
def endpoint(bench: Workbench) -> str:
    archive = bench.upload(pack({"serve_it.py": HANDLERS, "weights.bin": "w"}))
    environment = {"MINE": "yes", "SAGEMAKER_PROGRAM": "serve_it.py"}
    return bench.endpoint(bench.model(data=archive, environment=environment), instances=2)


def test_the_handlers_get_the_request_and_their_answer_comes_back(bench: Workbench, endpoint: str) -> None:
    answer = bench.runtime.invoke_endpoint(
        EndpointName=endpoint, Body=b"x", ContentType="image/jpeg", Accept="text/x-mine", CustomAttributes="trace=7"
    )
    said = json.loads(answer["Body"].read())

    assert (answer["InvokedProductionVariant"], answer["ContentType"]) == ("AllTraffic", "text/x-mine")
    assert answer["CustomAttributes"] == "seen"
    assert (said["type"], said["accept"], said["attributes"]) == ("image/jpeg", "text/x-mine", "trace=7")
    assert {"serve_it.py", "weights.bin"} <= set(said["files"])
    assert said["names"]["MINE"] == "yes"
    assert said["names"]["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 2))


def test_an_instance_has_the_credentials_of_its_models_role(bench: Workbench, endpoint: str) -> None:
    names = bench.invoke(endpoint)["names"]
    container = {name: value for name, value in names.items() if name.startswith("AWS_CONTAINER_")}
    given = ContainerProvider(container).load()
    assert given is not None
    sts = boto3.client(
        "sts",
        endpoint_url=bench.localaws.url,
        region_name="us-east-1",
        aws_access_key_id=given.access_key,
        aws_secret_access_key=given.secret_key,
        aws_session_token=given.token,
    )

    assert f"assumed-role/{bench.role_arn.rpartition('/')[2]}/" in sts.get_caller_identity()["Arn"]


def test_a_handlers_status_code_is_the_original_status_of_a_model_error(bench: Workbench, endpoint: str) -> None:
    with pytest.raises(ClientError) as refused:
        bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"unsupported")

    response = refused.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert response["OriginalStatusCode"] == 415
    assert json.loads(response["OriginalMessage"]) == {"error": {"code": "BadInput", "message": "this is no picture"}}
    assert response["LogStreamArn"].endswith(f"log-group:/aws/sagemaker/Endpoints/{endpoint}")
    assert response["Error"]["Message"].startswith('Received client error (415) from primary with message "')


def test_an_unexpected_exception_is_500_with_its_trace_in_the_log_only(bench: Workbench, endpoint: str) -> None:
    with pytest.raises(ClientError) as failed:
        bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x", ContentType="application/x-crash")

    response = failed.value.response
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 500)
    assert json.loads(response["OriginalMessage"])["error"]["code"] == "InternalServerError"
    assert "Traceback" not in str(response)
    assert "predict_fn" not in str(response)
    wait_until(lambda: bench.log(endpoint), holds=lambda log: "KeyError: 'labels'" in "\n".join(log))


@pytest.mark.parametrize(
    ("parameters", "status", "why"),
    [
        ({"EndpointName": "nobody"}, 400, "Endpoint nobody of account 123456789012 not found."),
        ({"Body": b"0" * (6 * 1024 * 1024 + 1)}, 413, "less than or equal to 6291456"),
        ({"TargetVariant": "other"}, 400, "Variant other not found for Request."),
        ({"TargetModel": "m.tar.gz"}, 400, "TargetModel is not supported by localaws"),
    ],
)
def test_a_request_that_no_model_may_see_is_a_validation_error(
    bench: Workbench, endpoint: str, parameters: dict[str, Any], status: int, why: str
) -> None:
    with pytest.raises(ClientError) as refused:
        bench.runtime.invoke_endpoint(**{"EndpointName": endpoint, "Body": b"x", **parameters})

    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert why in refused.value.response["Error"]["Message"]


def test_a_body_of_exactly_six_megabytes_passes(bench: Workbench, endpoint: str) -> None:
    assert bench.invoke(endpoint, b"0" * (6 * 1024 * 1024))["files"]


@pytest.mark.parametrize("operation", ["invoke_endpoint_async", "invoke_endpoint_with_response_stream"])
def test_runtime_operations_that_do_not_run_here_say_so(bench: Workbench, endpoint: str, operation: str) -> None:
    parameters = {"InputLocation": "s3://b/k"} if operation.endswith("async") else {"Body": b"x"}

    with pytest.raises(ClientError, match="is not supported by localaws"):
        getattr(bench.runtime, operation)(EndpointName=endpoint, **parameters)


def test_the_toolkits_defaults_read_and_write_json_csv_and_refuse_the_rest(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(DEFAULTS))

    assert bench.invoke(endpoint, b"[1, 2.5]", ContentType="application/json") == [2.0, 5.0]
    assert bench.invoke(endpoint, b"1,2\n3,4", ContentType="text/csv") == [[2.0, 4.0], [6.0, 8.0]]
    for content_type, body, status in (("image/jpeg", b"x", 415), ("application/json", b"{", 400)):
        with pytest.raises(ClientError) as refused:
            bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type)
        assert refused.value.response["OriginalStatusCode"] == status


def test_metrics_count_every_request_exactly(bench: Workbench) -> None:
    code = HANDLERS.replace("status_code = 415", "status_code = 422")
    endpoint = bench.endpoint(bench.model(code), instances=2)
    sent = [(b"x", "text/plain")] * 23 + [(b"unsupported", "text/plain")] * 5 + [(b"x", "application/x-crash")] * 3
    for body, content_type in sent:
        try:
            bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"

    def total(metric: str, statistic: str = "Sum") -> float:
        return float(sum(point[statistic] for point in bench.metric_points(endpoint, metric)))

    assert total("Invocations") == 31
    assert total("InvocationsPerInstance") == pytest.approx(31 / 2)
    assert (total("Invocation4XXErrors"), total("Invocation5XXErrors"), total("InvocationModelErrors")) == (5, 3, 8)
    assert (total("ModelLatency", "SampleCount"), total("OverheadLatency", "SampleCount")) == (31, 31)
    latency = bench.metric_points(endpoint, "ModelLatency")[0]
    assert latency["Unit"] == "Microseconds"
    assert 50 < latency["Average"] < 5e6


def test_variants_share_requests_by_weight_and_can_be_named(bench: Workbench) -> None:
    code = "import os\ndef model_fn(d): return os.environ['WHO']\ndef input_fn(b, t): return b\n"
    code += "def predict_fn(b, m): return m\ndef output_fn(p, a): return '\"%s\"' % p\n"
    old, new = (bench.model(code, environment={"WHO": who}) for who in ("old", "new"))
    endpoint = bench.start(
        bench.config(
            {"VariantName": "old", "ModelName": old, "InitialVariantWeight": 3.0},
            {"VariantName": "new", "ModelName": new, "InitialVariantWeight": 1.0},
        )
    )
    bench.settled(endpoint)

    answers = [bench.invoke(endpoint) for _ in range(400)]
    named = {bench.invoke(endpoint, TargetVariant="new") for _ in range(10)}
    changes = [{"VariantName": "old", "DesiredWeight": 0.0}, {"VariantName": "new", "DesiredWeight": 1.0}]
    bench.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=changes)
    weights = {v["VariantName"]: v["CurrentWeight"] for v in bench.settled(endpoint)["ProductionVariants"]}

    assert 240 < answers.count("old") < 350  # 300 expected, standard deviation 8.7
    assert named == {"new"}
    assert weights == {"old": 0.0, "new": 1.0}
    assert {bench.invoke(endpoint) for _ in range(20)} == {"new"}


def test_a_container_that_does_not_answer_in_time_is_a_model_error_without_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connections = ConnectionPool(silent.getsockname()[1])
        instance: Any = SimpleNamespace(outstanding=0, peak=0, slots=None, connections=connections)
        recorded: list[int | None] = []
        metrics: Any = SimpleNamespace(record=lambda status, **_: recorded.append(status))
        fleet: Any = SimpleNamespace(serving=(instance,))
        route = EndpointRoute("slow", "1", "us-east-1", (VariantRoute("v", 1.0, fleet, metrics),))
        router = InvocationRouter({"slow": route}, "1", invocation_seconds=0.05)

        start, body = asyncio.run(_call(router, "slow"))

    assert (start["status"], dict(start["headers"])[b"x-amzn-errortype"]) == (424, b"ModelError")
    assert json.loads(body["body"])["OriginalStatusCode"] == 0
    assert "Your invocation timed out while waiting for a response from container primary" in body["body"].decode()
    assert (recorded, instance.outstanding) == ([None], 0)


def test_a_body_cut_off_on_the_way_reaches_no_model() -> None:
    route = EndpointRoute("cut", "1", "us-east-1", (VariantRoute("v", 1.0, cast(Fleet, None), cast(Any, None)),))
    cut: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]

    start, _ = asyncio.run(_call(InvocationRouter({"cut": route}, "1"), "cut", *cut))

    assert dict(start["headers"])[b"x-amzn-errortype"] == b"IncompleteBody"


WHOLE = {"type": "http.request", "body": b"x"}


async def _call(
    router: InvocationRouter, name: str, *messages: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    received = iter(messages or (WHOLE,))

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await router({"headers": [], "path_params": {"name": name}}, receive, send)
    return sent[0], sent[1]


@pytest.mark.parametrize(("headers", "status"), [([], 200), ([(b"origin", b"null")], 403)])
def test_a_web_page_that_finds_a_model_servers_port_is_refused(headers: list[tuple[bytes, bytes]], status: int) -> None:
    """Its port is on loopback, where a browser sends whatever a page has it send, with the page's origin."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"body": b"x"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    handlers = SimpleNamespace(answer=lambda *_: Answer(b"said", "text/plain", {}))
    server = ModelServer(cast(Handlers, handlers), threads=1, queue_size=1, default_accept="*/*")
    scope = {"path": "/invocations", "method": "POST", "headers": headers}
    asyncio.run(server(scope, receive, send))
    assert sent[0]["status"] == status
