"""Models of a strict server, and training scripts of any, reach localaws and nothing else by TCP."""

import ctypes
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from localaws.programs import container
from localaws.sagemaker.jobs.hosts import NO_NAMESERVER
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, workbench
from tests.localaws.sagemaker.training.training_rooms import make_room
from tests.localaws.scaled_server import ScaledServer
from tests.localaws.strict.conftest import wait_for_roles
from tests.polling import wait_until

pytestmark = pytest.mark.strict

CONNECTS = """
import json, os, socket
from urllib.parse import urlsplit
def tried(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
def outcome(port):
    return [tried(port), tried(urlsplit(os.environ["AWS_ENDPOINT_URL"]).port)]
"""
MODEL = (
    CONNECTS
    + """
def model_fn(folder):
    return folder
def input_fn(data, content_type):
    return json.loads(data)
def predict_fn(data, model):
    return outcome(data)
def output_fn(prediction, accept):
    return json.dumps(prediction)
"""
)


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """The port of a server of another program, as any on the internet would be."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=lambda: accept_all(server), daemon=True)
        accepting.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        accepting.join(5)


def accept_all(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


@pytest.fixture
def bench(strict: ScaledServer) -> Iterator[Workbench]:
    with workbench(strict.localaws) as made:
        wait_for_roles(strict)
        yield made


def has_landlock_for_ports() -> bool:
    size, flags = ctypes.c_size_t(0), container.LANDLOCK_VERSION
    version: int = container.LIBRARY.syscall(ctypes.c_long(container.LANDLOCK_CREATE), None, size, flags)
    return version >= container.PORTS_SINCE


@pytest.mark.skipif(not has_landlock_for_ports(), reason="this kernel cannot keep a program from a port")
def test_a_model_reaches_localaws_only(bench: Workbench, elsewhere: int) -> None:
    endpoint = bench.endpoint(bench.model(MODEL))

    def answer() -> list[str] | None:
        try:
            body = bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=str(elsewhere))["Body"].read()
        except bench.runtime.exceptions.ModelError:
            return None  # it has not loaded
        found: list[str] = json.loads(body)
        return found

    assert wait_until(answer, "the model's answer") == ["PermissionError", "connected"]


def test_a_training_script_reaches_localaws_only(strict: ScaledServer, elsewhere: int) -> None:
    room = make_room(strict.localaws)
    wait_for_roles(strict)

    described = room.run(f"{CONNECTS}\nprint(outcome({elsewhere}))")

    (line,) = wait_until(lambda: room.log(described["TrainingJobName"]), "the line")
    assert line == "['ConnectionRefusedError', 'connected']"


def test_a_name_that_a_training_host_does_not_know_is_refused_at_once(strict: ScaledServer) -> None:
    """A name server that the host cannot reach would be waited for, 10 s for each name."""
    room = make_room(strict.localaws)
    wait_for_roles(strict)

    described = room.run("print(repr(open('/etc/resolv.conf').read()))")

    (line,) = wait_until(lambda: room.log(described["TrainingJobName"]), "the line")
    assert line == repr(NO_NAMESERVER)
