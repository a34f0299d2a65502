"""The stages of a command: their numbers, and their estimates from earlier runs."""

import json
import os
from pathlib import Path

from kennel.terminal.stages import CommandStages, earlier_seconds, load_seconds, run_stages
from tasks.run.progress import Stage


def test_a_stage_is_one_of_so_many_and_counts_its_seconds() -> None:
    now = [100.0]
    stages = CommandStages(run_stages(ec2=True, load_test=False), {"deploy": 3.0}, clock=lambda: now[0])
    each = stages.apply(Stage("train_sagemaker", "begins"))
    now[0] = 112.5
    assert (stages.number(each), each.title, stages.seconds(each)) == ("3 of 5", "train on SageMaker", 12.5)
    assert stages.running is each
    stages.apply(Stage("train_sagemaker", "done", 12.0))
    assert stages.seconds(each) == 12.0
    assert stages.running is None


def test_a_stage_that_nobody_planned_joins() -> None:
    stages = CommandStages(("servers",), {})
    assert stages.number(stages.apply(Stage("deploy", "begins"))) == "2 of 2"


def test_estimates_come_from_the_latest_run_that_really_worked(tmp_path: Path) -> None:
    for age, (run, content) in enumerate(
        {
            "adopted": json.dumps({"seconds": {"stage_data": 0.3, "deploy": 4.0}}),
            "damaged": "{",
            "worked": json.dumps({"seconds": {"stage_data": 9.0, "deploy": 5.0}}),
        }.items()
    ):
        path = tmp_path / run / "pipeline.json"
        path.parent.mkdir()
        path.write_text(content)
        os.utime(path, (1000 - age, 1000 - age))
    assert earlier_seconds(tmp_path) == {"stage_data": 9.0, "deploy": 4.0}


def test_better_estimates_are_taken_for_what_did_not_end_yet() -> None:
    stages = CommandStages(("stage_data", "deploy"), {})
    stages.apply(Stage("stage_data", "done", 1.0))
    stages.expect({"stage_data": 50.0, "deploy": 60.0})
    assert [each.estimate_seconds for each in stages.all] == [2.0, 60.0]


def test_a_time_that_the_arguments_say_is_not_taken_from_another_test() -> None:
    stages = CommandStages(("servers", "loadtest"), load_seconds("steady", 20.0))
    stages.expect({"servers": 3.0, "loadtest": 124.0})
    assert [each.estimate_seconds for each in stages.all] == [3.0, 30.0]
    assert load_seconds("checked", 20.0) == {}
