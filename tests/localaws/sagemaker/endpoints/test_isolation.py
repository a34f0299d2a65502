"""What a model cannot do: read localaws's files, the user's, another endpoint's model, or change its own for others."""

import http.client
import json
import socket
from pathlib import Path

import pytest

from localaws.sagemaker.model_server import TOKEN, TOKEN_HEADER
from tests.conftest import RunningLocalAws
from tests.localaws.prying import (
    PRY,
    SECRET,
    forbidden,
    keeps_ports,
    keeps_signals_inside,
    kept,
    telling_its_secret,
)
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench, pack
from tests.localaws.sleepers import DAEMON, names, sleepers

PRYING = (
    PRY
    + """
import json
def model_fn(model_dir):
    return {"folder": model_dir, "files": sorted(os.listdir(model_dir)), "home": os.environ["HOME"],
            "is_tmp_on_disk": os.stat("/tmp").st_dev == os.stat(os.environ["HOME"]).st_dev}
def input_fn(data, content_type):
    return json.loads(data)
def predict_fn(data, model):
    try:
        open(model["folder"] + "/code/inference.py", "a").close()
        model["is_writable"] = True
    except OSError:
        model["is_writable"] = False
    return {**model, "found": pry(data["paths"]), "signalled": signalled(data["pids"])}
"""
)

SEEING = (
    PRY
    + """
def model_fn(model_dir):
    return None
def predict_fn(data, model):
    return {"own": os.getpid(), "seen": seen(data), "commands": commands()}
"""
)
GRABBING = (
    PRY
    + """
import json
def model_fn(model_dir):
    return None
def input_fn(data, content_type):
    return json.loads(data)
def predict_fn(data, model):
    return {"found": grabbed(data) + nested()}
"""
)
PORT = """
import os
def model_fn(model_dir):
    return None
def predict_fn(data, model):
    return {"port": int(os.environ["SAGEMAKER_BIND_TO_PORT"]), "variables": sorted(os.environ)}
"""


LEAVES_A_DAEMON = (
    DAEMON
    + """
def model_fn(model_dir):
    daemon(int(os.environ["SECONDS"]))
def predict_fn(data, model):
    return {"is_there": True}
"""
)


@pytest.mark.usefixtures("needs_process_tables")
def test_a_daemon_ends_with_its_endpoint(bench: Workbench) -> None:
    (number,) = names(1)
    endpoint = bench.endpoint(bench.model(LEAVES_A_DAEMON, environment={"SECONDS": str(number)}))
    assert bench.invoke(endpoint, b"[]", ContentType="application/json") == {"is_there": True}
    assert len(sleepers(number)) == 1
    bench.delete(endpoint)
    assert not sleepers(number)


@pytest.mark.usefixtures("needs_process_tables")
def test_a_model_sees_only_processes_that_it_started(bench: Workbench, localaws: RunningLocalAws) -> None:
    pid = bench.invoke(bench.endpoint(bench.model()))["pid"]
    endpoint = bench.endpoint(bench.model(SEEING))
    with telling_its_secret() as secret:
        pids = json.dumps([secret, pid, localaws.pid]).encode()
        told = bench.invoke(endpoint, pids, ContentType="application/json")
    assert told["seen"] == []
    assert told["commands"].keys() == {"1", str(told["own"])}
    assert SECRET not in str(told)


@pytest.mark.usefixtures("needs_containers")
def test_a_model_gets_at_no_memory_message_key_device_or_port_of_the_user(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(GRABBING))
    with kept() as given:
        told = bench.invoke(endpoint, json.dumps(given).encode(), ContentType="application/json")
    assert told["found"] == ([] if keeps_ports() else ["a port"])


@pytest.mark.parametrize("token", [None, "", "0" * 32])
def test_a_model_server_answers_nobody_but_localaws(bench: Workbench, token: str | None) -> None:
    told = bench.invoke(bench.endpoint(bench.model(PORT)), b"[]", ContentType="application/json")
    assert TOKEN not in told["variables"]
    for method, path in (("POST", "/invocations"), ("GET", "/ping"), ("GET", "/")):
        connection = http.client.HTTPConnection("127.0.0.1", told["port"], timeout=60)
        connection.request(method, path, b"[]", {} if token is None else {TOKEN_HEADER: token})
        assert connection.getresponse().status == 403
        connection.close()


def test_no_other_program_can_share_a_model_servers_port(bench: Workbench) -> None:
    port = bench.invoke(bench.endpoint(bench.model(PORT)), b"[]", ContentType="application/json")["port"]
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            thief.bind((host, port))


@pytest.mark.usefixtures("needs_containers")
def test_a_model_sees_its_own_folder_and_nothing_of_others(bench: Workbench, localaws: RunningLocalAws) -> None:
    other = bench.endpoint(bench.model(data=bench.upload(pack({"code/inference.py": ECHO, "weights": "secret"}))))
    pid = bench.invoke(other)["pid"]
    (weights,) = (localaws.home / "endpoints").rglob("weights")
    paths = forbidden(localaws, more=[weights, Path(f"/proc/{pid}/environ"), Path(f"/proc/{pid}/root/opt/ml/model")])
    endpoint = bench.endpoint(bench.model(PRYING))
    told = bench.invoke(
        endpoint, json.dumps({"paths": paths, "pids": [pid, localaws.pid]}).encode(), ContentType="application/json"
    )
    assert told["found"] == []
    assert told["signalled"] == [] or not keeps_signals_inside()
    assert (told["folder"], told["files"], told["is_writable"]) == ("/opt/ml/model", ["code"], False)
    assert told["home"].startswith("/home/i-")
    assert told["is_tmp_on_disk"], "as large as the disk"
