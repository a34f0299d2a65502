"""How training jobs end: failed, stopped, past their time, interrupted, or with the server."""

import resource
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws, start_server, wait_for_url
from tests.keys import bearer
from tests.localaws.sagemaker.training.training_rooms import (
    Room,
    make_room,
    names_in,
    room_at,
    statuses,
)
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

pytestmark = pytest.mark.usefixtures("needs_containers")  # without them: test_rewriting.py


@pytest.fixture(scope="module")
def hasty_room() -> Iterator[Room]:
    """A server whose 120 seconds of grace last 1.5."""
    with scaled_server(scale=80) as server:
        yield make_room(server.localaws)


def test_the_failure_file_of_the_first_host_that_failed_is_the_reason_and_the_gang_ends(room: Room) -> None:
    script = """
        import json, pathlib, socket, sys, time
        host = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
        failure = pathlib.Path("/opt/ml/output/failure")
        if host == "algo-2":  # fails first, ends second
            failure.write_text("the data is spoiled")
            with socket.create_server(("", 9999)) as listener:
                listener.accept()
                time.sleep(0.5)
            sys.exit(3)
        if host == "algo-1":
            while True:  # on a busy machine the others may start seconds later
                try:
                    with socket.create_connection(("algo-2", 9999)):
                        break
                except OSError:
                    time.sleep(0.05)
            failure.write_text("lost a peer")
            sys.exit(1)
        time.sleep(600)
    """
    started = time.monotonic()

    described = room.run(script, hosts=3)

    assert time.monotonic() - started < 170, "the third host was not ended"
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"] == "AlgorithmError: the data is spoiled, exit code: 3"
    assert room.processes(described["TrainingJobName"]) == []


def test_without_a_failure_file_the_reason_is_the_end_of_the_log(room: Room) -> None:
    described = room.run("raise RuntimeError('out of luck')")

    assert described["FailureReason"].startswith("AlgorithmError: Traceback")
    assert described["FailureReason"].endswith("RuntimeError: out of luck, exit code: 1")
    assert len(described["FailureReason"]) <= 1024


def test_a_killed_host_fails_the_job(room: Room) -> None:
    described = room.run("import os; os.kill(os.getpid(), 9)")

    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].endswith("exit code: 137")


def test_processes_that_a_script_detaches_end_with_it(room: Room) -> None:
    script = """
        import subprocess
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    """

    described = room.run(script)

    assert described["TrainingJobStatus"] == "Completed"
    assert room.processes(described["TrainingJobName"]) == []


def test_a_key_that_leads_out_of_its_channel_fails_the_download(room: Room) -> None:
    prefix = uuid.uuid4().hex
    room.put(f"{prefix}/../../escaped")

    described = room.run("print('never')", channels=[room.channel("data", f"{prefix}/")])

    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: Data download failed: channel data:")
    assert "leads out of the channel's folder" in described["FailureReason"]
    assert statuses(described) == ["Starting", "Downloading", "Failed"]


def test_a_disk_that_is_full_fails_the_job_with_the_file_and_the_reason(room: Room, localaws: RunningLocalAws) -> None:
    prefix = uuid.uuid4().hex
    room.put(f"{prefix}/x", bytes(3_000_000))
    before = resource.prlimit(localaws.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(localaws.pid, resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        described = room.run("print('never')", channels=[room.channel("data", f"{prefix}/")])
    finally:
        resource.prlimit(localaws.pid, resource.RLIMIT_FSIZE, before)

    assert described["TrainingJobStatus"] == "Failed"
    assert "File too large" in described["FailureReason"] and "Traceback" not in described["FailureReason"]
    assert str(localaws.home.parent) not in described["FailureReason"], "a path of this machine"
    assert room.run("print('again')", channels=[room.channel("data", f"{prefix}/")])["TrainingJobStatus"] == "Completed"


WAITS_FOR_SIGTERM = """
    import pathlib, signal, sys, time
    def leave(*_):
        pathlib.Path("/opt/ml/model/half").write_text("half")
        print("asked to stop")
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    print("running", flush=True)
    time.sleep(60)
"""
IGNORES_SIGTERM = """
    import signal, time
    signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
    print("running", flush=True)
    while True:
        time.sleep(1)
"""


def test_a_stopped_job_has_its_time_to_save_and_keeps_its_model(room: Room) -> None:
    name = room.start(WAITS_FOR_SIGTERM)
    room.wait_for_line(name, "running")

    room.client("sagemaker").stop_training_job(TrainingJobName=name)

    described = room.end_of(name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert statuses(described) == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    assert names_in(room.get(f"out/{name}/output/model.tar.gz")) == {"half": b"half"}
    assert room.log(name)[-1] == "asked to stop"
    with pytest.raises(ClientError, match="rejected because the training job is in status Stopped"):
        room.client("sagemaker").stop_training_job(TrainingJobName=name)


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(hasty_room: Room) -> None:
    name = hasty_room.start(IGNORES_SIGTERM)
    hasty_room.wait_for_line(name, "running")
    asked = time.monotonic()

    hasty_room.client("sagemaker").stop_training_job(TrainingJobName=name)

    assert hasty_room.end_of(name)["TrainingJobStatus"] == "Stopped"
    assert 1.5 <= time.monotonic() - asked < 60, "the grace of a server whose time is not scaled is 120 s"
    assert hasty_room.log(name) == ["running", "no"]
    assert hasty_room.processes(name) == []


def test_max_runtime_is_stopped_and_not_completed(hasty_room: Room) -> None:
    described = hasty_room.run(WAITS_FOR_SIGTERM, StoppingCondition={"MaxRuntimeInSeconds": 1})

    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_max_wait_ends_a_spot_job_that_took_too_long(room: Room) -> None:
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}

    described = room.run(WAITS_FOR_SIGTERM, EnableManagedSpotTraining=True, StoppingCondition=limits)

    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


COUNTS_WITH_CHECKPOINTS = """
    import pathlib, time
    store = pathlib.Path("/opt/ml/checkpoints/step")
    step = int(store.read_text()) if store.exists() else 0
    print(f"from step {step}", flush=True)
    if step == 0:
        store.write_text("7")
        time.sleep(60)
    pathlib.Path("/opt/ml/model/step").write_text(str(step))
"""


def interrupt(room: Room, name: str, host: str = "algo-1") -> None:
    request = urllib.request.Request(
        f"{room.url}/_localaws/training-jobs/{name}/interrupt?host={host}",
        method="POST",
        data=b"",
        headers=dict(bearer()),
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 202


def test_an_interrupted_spot_job_goes_on_from_its_checkpoint(room: Room) -> None:
    name = room.start(
        COUNTS_WITH_CHECKPOINTS,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        CheckpointConfig={"S3Uri": f"s3://{room.bucket}/spot-checkpoints"},
    )
    room.wait_for_line(name, "from step 0")
    wait_until(  # uploaded while the job runs
        lambda: room.client("s3").list_objects_v2(Bucket=room.bucket, Prefix="spot-checkpoints/").get("KeyCount"),
        "a checkpoint in S3",
    )

    interrupt(room, name)

    described = room.end_of(name)
    assert described["TrainingJobStatus"] == "Completed"
    attempt = ["Starting", "Downloading", "Training"]
    assert statuses(described) == [*attempt, "Interrupted", *attempt, "Uploading", "Completed"]
    assert room.log(name) == ["from step 0", "from step 7"]
    assert names_in(room.get(f"out/{name}/output/model.tar.gz")) == {"step": b"7"}
    assert room.get("spot-checkpoints/step") == b"7"


def test_only_a_running_spot_job_can_be_interrupted(room: Room) -> None:
    name = room.start(WAITS_FOR_SIGTERM)
    with pytest.raises(urllib.error.HTTPError, match="409"):
        interrupt(room, name)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        interrupt(room, name, "algo-2")
    room.client("sagemaker").stop_training_job(TrainingJobName=name)
    room.end_of(name)


def test_nothing_of_a_job_outlives_the_server_however_that_ends(tmp_path: Path) -> None:
    for end in (signal.SIGKILL, signal.SIGTERM):
        server = start_server(tmp_path)
        try:
            room = room_at(wait_for_new_url(tmp_path, server), tmp_path, server.pid)
            assert list((tmp_path / "jobs").glob("*/attempt-*")) == []  # of the one before
            name = room.start(WAITS_FOR_SIGTERM, hosts=2)
            room.wait_for_line(name, "running", times=2)
            assert room.processes(name)
        finally:
            server.send_signal(end)
            server.wait(20)
        if end == signal.SIGKILL:
            wait_until(lambda: not tuple(_processes_of(tmp_path)), "the end of what the killed server ran")

    assert tuple(_processes_of(tmp_path)) == ()
    assert list((tmp_path / "jobs").glob("*/attempt-*")) == []


def test_a_job_in_its_120_seconds_of_grace_does_not_hold_up_the_end_of_the_server(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    try:
        room = room_at(wait_for_url(tmp_path, server), tmp_path, server.pid)
        name = room.start(IGNORES_SIGTERM)
        room.wait_for_line(name, "running")
        room.client("sagemaker").stop_training_job(TrainingJobName=name)
        room.wait_for_line(name, "no")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(10)  # it was 15 seconds a job


def wait_for_new_url(home: Path, server: Any) -> str:
    """Return the url of a server whose home has the output of another."""
    (home / "output.txt").write_text("")
    return wait_for_url(home, server)


def _processes_of(home: Path) -> Iterator[int]:
    for process in psutil.process_iter():
        try:
            if process.environ().get("LOCALAWS_OWNER") == str(home.resolve()):
                yield process.pid
        except psutil.Error:
            continue
