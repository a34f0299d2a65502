"""A processing job is removed by stopping it: one that has ended cannot be deleted, and only its log is left."""

import uuid
from pathlib import Path

from tasks.run.aws import Aws
from tasks.run.settings import Settings
from tasks.teardown.all_kinds import KINDS
from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import make_room

KIND = KINDS["processing-job"]


def test_a_job_that_runs_is_stopped_and_its_log_is_removed(localaws: RunningLocalAws, tmp_path: Path) -> None:
    room, name = ProcessingRoom(make_room(localaws)), f"kennel-{uuid.uuid4().hex[:12]}"
    aws = Aws(Settings(endpoint_url=localaws.url, runs=tmp_path, region="us-east-1"))
    tags = [{"Key": "kennel:project", "Value": "kennel"}, {"Key": "kennel:run", "Value": "r"}]
    script = "import time; print('running', flush=True); time.sleep(60)"
    room.start(script, ProcessingJobName=name, Tags=tags)
    room.wait_for_line(name, "running")
    assert name in {each.name for each in KIND.find_tagged(aws)}

    KIND.remove(aws, name)

    assert room.describe(name)["ProcessingJobStatus"] == "Stopped"
    assert room.log(name) == [] and KIND.find(aws, name) is None
    KIND.remove(aws, name)
