"""The main job against an embedded AWS that delays and refuses what AWS does, and in an account just opened."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.kennel.shell import Terminal, exported, prefer_own_port

pytestmark = [pytest.mark.slow, pytest.mark.strict, pytest.mark.timeout(600)]

SCALE = "60"  # AWS's delays are 0.1 to 3 s
QUICK = ("--run-id", "r", "--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1")
SPOT = ("--instances", "2", "--spot")
LOAD = ("--load-rate-per-second", "20", "--load-seconds", "2")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    prefer_own_port(terminal.home)
    yield terminal
    terminal.take_down()


def test_the_main_job_passes_where_aws_is_late_and_takes_instances_back(terminal: Terminal, photos: Path) -> None:
    data = ("--data", str(photos))
    shell = exported(terminal.kennel("up", "--strict", "--account", "old", "--time-scale", SCALE).out)
    assert shell["KENNEL_STRICT"] == "1"

    done = terminal.kennel("run", *data, *QUICK, *SPOT, *LOAD, "--json")

    assert done.code == 0, done.err
    assert (done.answer["test_accuracy"] >= 0.9, done.answer["loadtest"]["failures"]) == (True, 0)
    assert f"(time scale {SCALE}, strict)" in done.err
    keys = {name.lower(): shell[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    sagemaker = boto3.client("sagemaker", endpoint_url=shell["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys)
    job = sagemaker.describe_training_job(TrainingJobName=done.answer["training_job"])
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]

    on_ec2 = terminal.kennel("train-ec2", *data, *QUICK)

    assert on_ec2.code == 0, on_ec2.err
    assert "EC2 has no c7i.xlarge on-demand available" in on_ec2.err


def test_a_new_account_ends_with_each_quota_its_value_what_is_needed_and_the_command(terminal: Terminal) -> None:
    done = terminal.kennel("demo", "--strict", "--account", "new")

    assert done.code == 5, done.err
    for use, instance_type, needed in (("training job", "ml.m5.xlarge", 2), ("endpoint", "ml.m5.large", 1)):
        assert f"'{instance_type} for {use} usage' is 0, and the {use} ({needed} × {instance_type}) needs" in done.err
        assert f"--desired-value={needed}" in done.err
    assert "service-quotas request-service-quota-increase --service-code=sagemaker --quota-code=L-" in done.err
    assert "stage 2" not in done.err
