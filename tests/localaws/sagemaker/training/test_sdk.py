"""The SageMaker SDK's ModelTrainer, unmodified: two hosts, torchrun, one all-reduce; with and without namespaces.

The ranks join by `training/distributed.py`, as kennel's do: a script that leaves that to gloo fails here as on AWS.
"""

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT, RunningLocalAws, client_environment, wait_for_url
from tests.keys import for_boto3, give_keys
from tests.localaws.roles import make_role

TRAINER_SECONDS = 120

TRAINING_SCRIPT = """
    import argparse, os, pathlib, sys
    import torch
    from training.distributed import join_ranks

    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float)
    options = parser.parse_args()
    with join_ranks(os.environ, timeout_seconds=60) as world:
        total = world.sum(torch.tensor([float(world.rank + 1)]))
    shards = sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"]))
    print(f"host={os.environ['SM_CURRENT_HOST']} sum={total.item()} rate={options.learning_rate} shards={shards}")
    if world.is_first:
        pathlib.Path(os.environ["SM_MODEL_DIR"], "sum").write_text(str(total.item()))
"""

LEFT_TO_GLOO = """
    from datetime import timedelta
    import torch.distributed as distributed

    distributed.init_process_group("gloo", timeout=timedelta(seconds=10))
"""

TRAINER = """
    import json, sys
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.shapes import DataSource, Channel, OutputDataConfig, S3DataSource
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, SourceCode
    from sagemaker.train.distributed import Torchrun

    bucket, role, folder, endpoint = sys.argv[1:]

    class Pinned(boto3.Session):  # the SDK gives STS an address of its own
        def client(self, *names, **options):
            return super().client(*names, **{**options, "endpoint_url": endpoint})

    opted_out = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    trainer = ModelTrainer(
        training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312",
        source_code=SourceCode(source_dir=folder, entry_script="train.py"),
        distributed=Torchrun(),
        compute=Compute(instance_type="ml.m5.large", instance_count=2),
        base_job_name="two-hosts",
        role=role,
        hyperparameters={"learning-rate": 0.1},
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
        sagemaker_session=Session(
            boto_session=Pinned(region_name="us-east-1"), default_bucket=bucket, sagemaker_config=opted_out
        ),
    )
    source = S3DataSource(
        s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/train/", s3_data_distribution_type="ShardedByS3Key"
    )
    channel = Channel(channel_name="train", data_source=DataSource(s3_data_source=source))
    trainer.train(input_data_config=[channel], wait=False)
    print(json.dumps({"name": trainer._latest_training_job.training_job_name}))
    trainer._latest_training_job.wait(poll=1)
"""


def train_with_the_sdk(url: str, folder: Path, script: str = TRAINING_SCRIPT) -> tuple[dict[str, Any], list[str], Any]:
    """Run ModelTrainer in a process of its own; return the job's description, its log lines and an S3 client."""
    clients = {
        name: boto3.client(name, endpoint_url=url, region_name="us-east-1", **for_boto3())
        for name in ("s3", "iam", "logs", "sagemaker")
    }
    bucket, role = _prepare_account(clients, folder.name)
    shutil.copytree(ROOT / "training", folder / "code" / "training", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "code" / "train.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRAINER), bucket, role, str(folder / "code"), url],
        env={**client_environment(url), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=TRAINER_SECONDS,
    )
    named = [line for line in done.stdout.splitlines() if line.startswith('{"name": ')]
    assert named, done.stdout + done.stderr
    name = json.loads(named[-1])["name"]
    described = clients["sagemaker"].describe_training_job(TrainingJobName=name)
    found = clients["logs"].filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/"
    )
    return described, [event["message"] for event in found["events"]], clients["s3"]


def _prepare_account(clients: dict[str, Any], mark: str) -> tuple[str, str]:
    bucket = f"sdk-{mark}".replace("_", "-").lower()[:60].rstrip("-")
    clients["s3"].create_bucket(Bucket=bucket)
    for number in range(4):
        clients["s3"].put_object(Bucket=bucket, Key=f"train/shard-{number}", Body=b"x")
    role = make_role(clients["iam"], bucket, "sagemaker")
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}  # the SDK simulates a list of actions first
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    clients["iam"].put_role_policy(RoleName=bucket, PolicyName="all", PolicyDocument=policy)
    return bucket, role


def assert_both_hosts_trained_one_model(described: dict[str, Any], lines: list[str], s3: Any) -> None:
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert [line for line in sorted(lines) if line.startswith("host=")] == [
        "host=algo-1 sum=3.0 rate=0.1 shards=['shard-0', 'shard-2']",
        "host=algo-2 sum=3.0 rate=0.1 shards=['shard-1', 'shard-3']",
    ]
    bucket, _, key = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > 0


def test_model_trainer_runs_torchrun_on_two_hosts(localaws: RunningLocalAws, tmp_path: Path) -> None:
    described, lines, s3 = train_with_the_sdk(localaws.url, tmp_path)

    assert_both_hosts_trained_one_model(described, lines, s3)


@pytest.mark.slow
def test_ranks_that_leave_the_interface_to_gloo_do_not_meet(
    needs_containers: None, localaws: RunningLocalAws, tmp_path: Path
) -> None:
    described, lines, _ = train_with_the_sdk(localaws.url, tmp_path, LEFT_TO_GLOO)

    assert described["TrainingJobStatus"] == "Failed"
    assert any("Unable to resolve hostname to a (local) address" in line for line in lines)
    assert "connectFullMesh" in "".join(lines)


@pytest.fixture
def url_without_namespaces(needs_containers: None, tmp_path: Path) -> Iterator[str]:
    """A server that the kernel really refuses namespaces: it runs where their number is limited to none."""
    home = tmp_path / "home"
    give_keys(home)
    limited = ["unshare", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    command = [*limited, sys.executable, "-m", "localaws", "--home", str(home), "--port", "0"]
    with (home / "output.txt").open("a") as output:
        server = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True)
    try:
        yield wait_for_url(home, server)
    finally:
        server.terminate()
        server.wait(20)


def test_where_there_are_no_namespaces_the_staged_scripts_are_rewritten(
    url_without_namespaces: str, tmp_path: Path
) -> None:
    described, lines, s3 = train_with_the_sdk(url_without_namespaces, tmp_path)

    assert_both_hosts_trained_one_model(described, lines, s3)
    assert any("hosts cannot have namespaces of their own here" in line for line in lines)
