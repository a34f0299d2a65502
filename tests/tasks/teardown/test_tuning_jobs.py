"""The teardown of a tuning job that runs: nothing of it is left, its training jobs and their logs included."""

from pathlib import Path

import pytest

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.training.training_rooms import LOG_GROUP, make_room
from tests.localaws.sagemaker.tuning.tuning_rooms import TuningRoom

WAITS = """
    import time
    print("loss=1.0", flush=True)
    time.sleep(600)
"""
NAME = "kennel-run-1-tune"


@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_tuning_job_that_runs_is_removed_with_all_that_it_started(
    own_localaws: RunningLocalAws, tmp_path: Path, has_ledger: bool
) -> None:
    aws = Aws(Settings(endpoint_url=own_localaws.url, home=tmp_path / "home", runs=tmp_path / "runs"))
    tuning, run = TuningRoom(make_room(own_localaws)), Run(aws, "run-1")
    request = tuning.request(WAITS, Tags=naming.tag_list("run-1")) | {"HyperParameterTuningJobName": NAME}
    arn = tuning.client.create_hyper_parameter_tuning_job(**request)["HyperParameterTuningJobArn"]
    if has_ledger:
        run.ledger.record("tuning-job", NAME, "created", identifier=arn)
    running = tuning.first_running(NAME)
    lines: list[str] = []

    tear_down(aws, None, yes=True, say=lines.append)

    assert f"  gone   tuning-job {NAME}" in lines
    assert [item.key for kind in KINDS.values() for item in kind.find_tagged(aws)] == []
    assert tuning.client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
    assert tuning.room.processes(running) == []
    streams = own_localaws.client("logs").describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=NAME)
    assert streams["logStreams"] == []
    again: list[str] = []
    tear_down(aws, None, yes=True, say=again.append)
    assert again == ["  nothing to remove"]
