"""An instance's metadata service refuses browsers: without namespaces its port is on this machine's loopback."""

import http.client
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from localaws.auth.grants import Session
from localaws.ec2.metadata import Identity, Metadata

LIFETIME = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}


@pytest.fixture
def port() -> Iterator[int]:
    identity = Identity({"meta-data/instance-id": "i-1"}, None, None, requires_token=False)
    metadata = Metadata(identity, lambda _: Session("", "", "", datetime.now(UTC)))
    listener = socket.create_server(("127.0.0.1", 0))
    service = metadata.serve(listener)
    yield int(listener.getsockname()[1])
    service.close()


def ask(port: int, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | LIFETIME
    connection.request(method, f"/latest/{path}", headers={"Host": "169.254.169.254"} | sent)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(("method", "path"), [("PUT", "api/token"), ("GET", "meta-data/instance-id")])
def test_only_programs_that_name_an_address_are_answered(port: int, method: str, path: str) -> None:
    assert ask(port, method, path) == 200
    assert ask(port, method, path, Host=f"127.0.0.1:{port}") == 200
    assert ask(port, method, path, Host="evil.example") == 403
    assert ask(port, method, path, Origin="http://127.0.0.1:80") == 403
    assert ask(port, method, path, Sec_Fetch_Site="none") == 403
