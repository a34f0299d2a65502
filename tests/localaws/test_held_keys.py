"""A key that is held: what is signed with it is refused before any routing, and its holder is told."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError
from starlette.responses import Response

from localaws.auth.keys import Key
from localaws.auth.signature_gate import SignatureGate
from localaws.auth.verifier import Verifier
from localaws.credentials import Credentials
from localaws.settings import Settings

REFUSED = "the credentials belong to an instance that does not exist yet"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "e", "Body": b"{}"}),
    "lambda": ("invoke", {"FunctionName": "f", "Payload": b"{}"}),
    "s3": ("list_buckets", {}),
    "sts": ("get_caller_identity", {}),
    "ec2": ("describe_instances", {}),
    "logs": ("describe_log_groups", {}),
    "cloudwatch": ("list_metrics", {}),
}


@dataclass
class Front:
    """The front's gate in a thread of this process; what it lets through is answered with 200."""

    url: str
    credentials: Credentials
    used: list[str] = field(default_factory=list)

    def hold(self, key: str) -> None:
        self.credentials.hold(key, lambda: self.used.append(key))

    def client(self, service: str, key: str, **config: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    credentials = Credentials(Settings(home=tmp_path_factory.mktemp("home")))
    app = SignatureGate(
        Response(status_code=200), Verifier(lambda _: Key("secret")), token="t", is_held=credentials.refuses
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield Front(f"http://127.0.0.1:{listener.getsockname()[1]}", credentials)
        server.should_exit = True
        thread.join(60)


@pytest.mark.parametrize("service", CALLS)
def test_a_held_key_is_refused_in_each_services_shape_until_it_is_released(front: Front, service: str) -> None:
    operation, arguments = CALLS[service]
    key = f"HELD{service.upper().replace('-', '')}"
    client = front.client(service, key)
    front.hold(key)
    with pytest.raises(ClientError, match=REFUSED) as refused:
        getattr(client, operation)(**arguments)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert front.used.count(key) == 1
    front.credentials.release(key)
    if service in ("sagemaker-runtime", "lambda", "s3"):
        getattr(client, operation)(**arguments)
    assert front.used.count(key) == 1


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_url_presigned_with_a_held_key_is_refused(front: Front, version: str) -> None:
    key = f"PRESIGNED{version.upper()}"
    client = front.client("s3", key, signature_version=version)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    front.hold(key)
    assert status_of(url) == 403 and front.used.count(key) == 1
    front.credentials.release(key)
    assert status_of(url) == 200 and front.used.count(key) == 1


def test_other_keys_are_served_while_one_is_held(front: Front) -> None:
    front.hold("HELDALONE")
    assert front.client("s3", "ANOTHER").list_buckets()
    assert "HELDALONE" not in front.used
    front.credentials.release("HELDALONE")


def test_a_key_can_be_held_and_released_by_many_threads(tmp_path: Path) -> None:
    credentials = Credentials(Settings(home=tmp_path))

    def work(number: int) -> None:
        for turn in range(200):
            credentials.hold(f"{number}-{turn}", lambda: None)
            assert credentials.refuses(f"{number}-{turn}")
            credentials.release(f"{number}-{turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not credentials.are_held
    credentials.release("never held")


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
