"""Tests of on_instance.py as a process against localaws's S3, with scripts of a few lines in place of train.py.

The real training on an EC2 instance is tested in tests/flows.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import RunningLocalAws
from tests.polling import wait_until
from training.instance_job import Status

ROOT = Path(__file__).resolve().parents[2]
SAVES = """
    import pathlib, sys
    given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
    model = pathlib.Path(given["model-dir"]); model.mkdir()
    (model / "meta.json").write_text(pathlib.Path(given["train"], "shard-00000.tar").read_text())
    (model / "arguments.txt").write_text(" ".join(sys.argv[1:]))
"""
WAITS = """
    import pathlib, signal, sys, time
    given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
    state = pathlib.Path(given["checkpoint-dir"], "state")
    def stop(*_): state.write_text("half way"); sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    print("resumed" if state.exists() else "fresh", flush=True)
    time.sleep(60)
"""


@dataclass
class Instance:
    """A job folder as the EC2 flow sends it to an instance, and the environment of an instance."""

    home: Path
    localaws: RunningLocalAws
    bucket: str
    spec: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def prepare(self, script: str, **spec: Any) -> None:
        training = self.home / "code" / "training"
        training.mkdir(parents=True)
        for name in ("__init__", "on_instance", "instance_job", "instance_storage", "failures"):
            (training / f"{name}.py").write_bytes((ROOT / "training" / f"{name}.py").read_bytes())
        (training / "requirements.txt").write_text("")
        (training / "train.py").write_text(textwrap.dedent(script))
        (self.home / "bin").mkdir()
        (self.home / "bin" / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')  # drops -n, runs the command
        (self.home / "bin" / "sudo").chmod(0o755)
        self.spec = {
            "region": "us-east-1",
            "bucket": self.bucket,
            "inputs": [],
            "requirements": "training/requirements.txt",
            "arguments": ["--backbone=tiny"],
            "environment": {},
            "hosts": ["127.0.0.1"],
            "rank": 0,
            "processes_per_host": 1,
            "checkpoints": None,
            "is_spot": False,
            "max_runtime_seconds": 60,
            "encryption": {"ServerSideEncryption": "AES256"},
            **spec,
        }

    def put(self, key: str, data: bytes, folder: str = "train") -> dict[str, str]:
        self.localaws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=data)
        return {"key": key, "folder": folder, "sha256": hashlib.sha256(data).hexdigest()}

    def start(self, *before: str) -> None:
        (self.home / "spec.json").write_text(json.dumps(self.spec))
        environment = {
            **self.localaws.environment,
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(self.home / "code"),
            "PIP_NO_INDEX": "1",
        }
        command = [*before, sys.executable, "-m", "training.on_instance", str(self.home / "spec.json")]
        with (self.home / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.home, env=environment, stdout=log, stderr=log)

    def status(self) -> dict[str, Any]:
        path = self.home / "status.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def log(self) -> str:
        return (self.home / "log.txt").read_text()

    def run(self, *before: str) -> dict[str, Any]:
        self.start(*before)
        assert self.process is not None
        self.process.wait(60)
        return self.status()


@pytest.fixture
def instance(localaws: RunningLocalAws, tmp_path: Path) -> Any:
    bucket = f"on-instance-{uuid4().hex[:8]}"
    localaws.client("s3").create_bucket(Bucket=bucket)
    made = Instance(tmp_path, localaws, bucket)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(60)


def test_a_job_leaves_a_packed_model_and_reports_its_digest(instance: Instance) -> None:
    instance.prepare(SAVES, inputs=[instance.put("data/shard-00000.tar", b"the data")])

    status = instance.run()

    assert status["state"] == "completed", instance.log()
    assert set(status["seconds"]) == {"installing", "fetching", "training", "packing"}
    archive = Path(status["model"]["path"])
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == status["model"]["sha256"]
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == ["arguments.txt", "meta.json"]
    assert (instance.home / "TrainedModels" / "meta.json").read_text() == "the data"


def test_hostile_arguments_reach_the_script_as_they_are(instance: Instance) -> None:
    hostile = "--name=; rm -rf ~ #$(touch x)`id`\n"
    instance.prepare(SAVES, inputs=[instance.put("shard-00000.tar", b"x")], arguments=[hostile])

    assert instance.run()["state"] == "completed", instance.log()
    assert hostile in (instance.home / "TrainedModels" / "arguments.txt").read_text()


def test_an_input_that_is_damaged_twice_fails_the_job_before_training(instance: Instance) -> None:
    wanted = instance.put("data/shard-00000.tar", b"the data")
    instance.put("data/shard-00000.tar", b"other data")
    instance.prepare(SAVES, inputs=[wanted])

    status = instance.run()

    assert status["state"] == "failed"
    assert "data/shard-00000.tar arrived damaged twice: its sha256 is" in status["error"]
    assert not (instance.home / "TrainedModels").exists()


def test_a_failure_file_of_the_script_becomes_the_error(instance: Instance) -> None:
    script = """
        import pathlib, sys
        out = next(pathlib.Path(w[13:]) for w in sys.argv if w.startswith("--output-dir="))
        out.mkdir(); (out / "failure").write_text("class 'moss' has 0 images"); sys.exit(1)
    """
    instance.prepare(script)
    assert instance.run()["error"] == "class 'moss' has 0 images"


def test_a_killed_script_is_reported_as_out_of_memory(instance: Instance) -> None:
    instance.prepare("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "ran out of memory" in instance.run()["error"]


def test_a_job_that_runs_too_long_is_ended(instance: Instance) -> None:
    instance.prepare("import time; time.sleep(60)", max_runtime_seconds=0.5)
    assert instance.run()["error"] == "the training ran longer than the 0.5 s allowed"


def test_after_sigterm_the_next_instance_resumes_from_the_checkpoint_in_s3(instance: Instance) -> None:
    instance.prepare(WAITS, checkpoints="runs/x/checkpoints")
    instance.start()
    wait_until(instance.log, "the first start", holds=lambda log: "fresh" in log)
    assert instance.process is not None
    instance.process.send_signal(signal.SIGTERM)

    assert instance.process.wait(30) == 143
    assert instance.status()["state"] == "interrupted"
    (instance.home / "checkpoints" / "state").unlink()  # the next instance starts with an empty folder
    instance.start()
    wait_until(instance.log, "the second start", holds=lambda log: "resumed" in log)


def test_a_full_disk_is_named_in_the_status(instance: Instance) -> None:
    size = "import pathlib; pathlib.Path('big').write_bytes(bytes(64 << 20))"
    instance.prepare(size)
    home = instance.home
    whole = (
        f"cp -r {home}/. /mnt && ulimit -f unlimited && mount -t tmpfs -o size=1m none {home} && cp -r /mnt/. {home}"
    )
    shell = (
        f'mount -t tmpfs none /mnt && {whole} && cd {home} && "$@"; cp {home}/status.json /mnt/; cat {home}/status.json'
    )

    instance.start("unshare", "-rm", "bash", "-c", shell, "bash")

    assert instance.process is not None
    instance.process.wait(60)
    status = json.loads(instance.log()[instance.log().rindex('{"state"') :])
    assert status["state"] == "failed"
    assert status["error"] == "the instance's disk is full"


def test_a_status_is_replaced_in_place_when_nothing_can_be_created(tmp_path: Path) -> None:
    status = Status(tmp_path / "status.json")
    (tmp_path / "status.part").mkdir()  # a folder in its place, so that the temporary file cannot be written

    status.update(state="failed", error="no room")

    assert json.loads((tmp_path / "status.json").read_text())["error"] == "no room"
