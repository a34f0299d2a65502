"""A reset over HTTP ends what runs, forgets all state and goes on in the same process."""

import json
import urllib.request
from typing import Any

import psutil

from tests.conftest import RunningLocalAws, running_localaws
from tests.keys import bearer
from tests.localaws.functions.functions_kit import Functions
from tests.polling import wait_until


def told(server: RunningLocalAws, path: str, method: str = "GET") -> dict[str, Any]:
    request = urllib.request.Request(f"{server.url}/_localaws/{path}", method=method, headers=dict(bearer()))
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def generation(server: RunningLocalAws) -> str | None:
    """Return the name of its state; None if the connection was one of those that a reset closes."""
    try:
        return str(told(server, "health")["generation"])
    except OSError:
        return None


def cpu_seconds(server: RunningLocalAws) -> float:
    """Return the processor time of a server without its children."""
    used = psutil.Process(server.pid).cpu_times()
    return used.user + used.system


def reset(server: RunningLocalAws) -> float:
    """Reset a server; return the processor time that it took until it answers with a new state."""
    before = cpu_seconds(server)
    gone = told(server, "reset", "POST")["generation"]
    wait_until(lambda: generation(server), "a new state", holds=lambda name: name != gone)
    return cpu_seconds(server) - before


def test_a_reset_over_http_leaves_a_server_as_new_each_time() -> None:
    with running_localaws() as server:
        started = cpu_seconds(server)
        pid = json.loads((server.home / "server.json").read_text())["pid"]
        for _ in range(2):
            server.client("s3").create_bucket(Bucket="made-anew")
            functions = Functions.of(server)
            name = functions.make()
            assert functions.invoke(name)["Payload"]["arn"].endswith(name)
            assert server.client("iam").list_policies(Scope="AWS", MaxItems=1)["Policies"]
            assert reset(server) < started / 2, "it starts anew"
            assert server.client("s3").list_buckets()["Buckets"] == []
            assert server.client("lambda").list_functions()["Functions"] == []
            assert server.client("iam").list_roles()["Roles"] == []
        assert json.loads((server.home / "server.json").read_text())["pid"] == pid
