"""Training and processing jobs where the kernel gives no namespaces: the paths in the staged scripts are rewritten."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, wait_for_url
from tests.keys import give_keys
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import Room, names_in, room_at

# a user namespace that may hold none of its own, as on a kernel that has them switched off
WITHOUT_NAMESPACES = ["unshare", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    if shutil.which("unshare") is None or subprocess.run([*WITHOUT_NAMESPACES, "true"], check=False).returncode != 0:
        pytest.skip("namespaces cannot be taken away here")
    home: Path = tmp_path_factory.mktemp("flat")
    give_keys(home)
    command = [*WITHOUT_NAMESPACES, sys.executable, "-m", "localaws", "--home", str(home), "--port", "0"]
    with (home / "output.txt").open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True)
    try:
        yield room_at(wait_for_url(home, server), home, server.pid)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def test_hosts_have_their_own_opt_ml_and_the_log_says_how(room: Room) -> None:
    script = """
        import json, pathlib
        config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
        pathlib.Path("/opt/ml/model", config["current_host"]).write_text("x")
        print("done", config["current_host"])
    """

    described = room.run(script, hosts=2)

    name = described["TrainingJobName"]
    assert described["TrainingJobStatus"] == "Completed"
    assert names_in(room.get(f"out/{name}/output/model.tar.gz")) == {"algo-1": b"x", "algo-2": b"x"}
    first, second = room.log(name, "algo-2-")
    assert "hosts cannot have namespaces of their own here" in first
    assert second == "done algo-2"


def test_a_job_that_must_reach_nothing_does_not_run(room: Room) -> None:
    described = room.run("print('never')", EnableNetworkIsolation=True)

    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("InternalServerError: EnableNetworkIsolation is not possible here")


def test_the_images_own_entry_point_gives_a_script_the_folders_that_there_are(room: Room) -> None:
    script = """
        import os, pathlib, sys
        pathlib.Path(os.environ["SM_MODEL_DIR"], "arguments").write_text(" ".join(sys.argv[1:]))
    """
    request = room.request_of_image(script, parameters={"rate": "0.5"})
    room.client("sagemaker").create_training_job(**request)

    described = room.end_of(request["TrainingJobName"])

    assert described["TrainingJobStatus"] == "Completed", described
    archive = room.get(f"out/{request['TrainingJobName']}/output/model.tar.gz")
    assert names_in(archive) == {"arguments": b"--rate 0.5"}


def test_a_processing_job_reads_and_writes_its_folders_there_too(room: Room) -> None:
    jobs = ProcessingRoom(room)
    script = """
        import json, pathlib
        host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
        pathlib.Path("/opt/ml/processing/out", host).write_text("x")
    """

    described = jobs.run(script, hosts=2, outputs=[jobs.target("out", "processed")])

    assert described["ProcessingJobStatus"] == "Completed", jobs.log(described["ProcessingJobName"])
    assert jobs.keys("processed/") == ["algo-1", "algo-2"]
