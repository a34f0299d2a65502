"""What a worker's machine is given and asked: packages, code, photos, plan, and the time by its clock."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.load.workers.bundle import make_bundle
from tasks.load.workers.clock import ClockReading, read_clock
from tasks.load.workers.machine import workers_command
from tasks.load.workers.requirements import worker_requirements
from tasks.run.errors import RemoteFailed
from tasks.ssh.remote import Remote
from tests.conftest import ROOT
from tests.sshd import Sshd

LOADED = """
import json, sys
import locust
import loadtest.locustfile
files = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
print(json.dumps({"files": files, "names": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def plan(images: list[str]) -> dict[str, Any]:
    target = {
        "kind": "endpoint",
        "name": "e",
        "qualifier": None,
        "base_url": "http://127.0.0.1:1",
        "region": "us-east-1",
    }
    stages = [{"rate_per_second": 1, "seconds": 1, "name": ""}]
    times = {"warm_up_seconds": 0, "timeout_seconds": 1, "drain_seconds": 1}
    counts = {"max_connections": 1, "processes": 4, "seed": 0}
    return {
        "target": target,
        "images": images,
        "stages": stages,
        **times,
        **counts,
        "result_path": "/x",
        "is_local": True,
    }


@pytest.fixture
def unpacked(image: Path, tmp_path: Path) -> Path:
    url = "http://127.0.0.1/a.jpg"
    with tarfile.open(fileobj=io.BytesIO(make_bundle(plan([str(image), url, str(image)])))) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


def loaded_by(folder: Path) -> dict[str, list[str]]:
    environment = {**os.environ, "PYTHONPATH": "code", "KENNEL_LOADTEST_PLAN": "plan.json"}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_bundle_has_all_code_that_a_generator_loads_and_its_packages_are_those_required(unpacked: Path) -> None:
    found = loaded_by(unpacked)
    ours = [path for path in found["files"] if str(ROOT) in path or "/tasks/" in path or "/loadtest/" in path]
    strangers = [path for path in ours if ".venv" not in path and not path.startswith((str(unpacked), "code"))]
    assert len(ours) > 20 and strangers == []
    named = set(re.findall(r"^([a-z0-9-]+)==", worker_requirements(), re.MULTILINE))
    wanted = {"botocore": "botocore", "flask": "flask", "gevent": "gevent", "zmq": "pyzmq", "hdrh": "hdrhistogram"}
    wanted |= {"pydantic": "pydantic", "pydantic_settings": "pydantic-settings", "psutil": "psutil"}
    assert {package for module, package in wanted.items() if module in found["names"]} - named == set()
    assert {"torch", "prefect", "paramiko", "boto3"} & set(found["names"]) == set()


def test_the_plan_of_a_machine_has_its_own_paths_and_credentials(unpacked: Path, image: Path) -> None:
    found = json.loads((unpacked / "plan.json").read_bytes())
    assert found["images"] == ["images/0.jpg", "http://127.0.0.1/a.jpg", "images/0.jpg"]
    assert (unpacked / "images" / "0.jpg").read_bytes() == image.read_bytes()
    assert (found["is_local"], found["processes"], found["result_path"]) == (False, 4, "loadtest.json")
    assert make_bundle(plan([str(image)])) == make_bundle(plan([str(image)]))


def test_every_package_has_hashes_and_the_lock_s_version() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"^(?=\S)", worker_requirements(), flags=re.MULTILINE)[1:]
    assert len(entries) > 30
    assert [entry for entry in entries if "--hash=sha256:" not in entry or entry not in lock] == []


def test_workers_join_the_master_by_loopback_and_know_by_how_much_their_clock_is_ahead() -> None:
    command = workers_command(4711, 3, ClockReading(-0.25, 0.001))
    assert "KENNEL_LOADTEST_CLOCK_AHEAD_SECONDS=-0.25" in command
    assert command.endswith("--worker --master-host 127.0.0.1 --master-port 4711 --processes 3")


def test_a_clock_is_read_within_the_error_that_is_told(sshd: Sshd) -> None:
    with Remote(sshd.login()) as remote:
        same = read_clock(remote, sys.executable)
        behind = read_clock(remote, sys.executable, lambda: time.time() + 5.0)
    assert abs(same.ahead_seconds) <= same.error_seconds < 5.0
    assert abs(behind.ahead_seconds + 5.0) <= behind.error_seconds
    assert behind.moved_since(same) == pytest.approx(5.0, abs=2 * (same.error_seconds + behind.error_seconds) + 1e-6)
    assert ClockReading(0.010, 0.008).moved_since(ClockReading(0.0, 0.004)) == 0.0, "it is within both errors"


def test_a_machine_without_a_clock_is_told_of(sshd: Sshd) -> None:
    with (
        Remote(sshd.login()) as remote,
        pytest.raises(RemoteFailed, match="its clock could not be read: it answered b''"),
    ):
        read_clock(remote, "/bin/true")
