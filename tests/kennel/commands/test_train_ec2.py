"""Training on EC2 through the command, over a real sshd: the model, the comparison with SageMaker, and every way out.

One AWS for the module; each test names what it asks of it.
"""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from safetensors.numpy import save_file

from tasks.plan.resources import Planned
from tasks.run import naming
from tasks.run.ledger_contents import read_ledger
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls
from tests.kennel.decided_again import asked_by, parts_with_action
from tests.kennel.interface import differences
from tests.kennel.shell import ROOT, Finished, Terminal, open_to_others
from tests.keys import bearer, for_boto3
from tests.localaws.callers import allow, deny, document
from tests.localaws.roles import trust
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN = "ec2-colours"
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1")
LONG = ("--backbone", "efficientnet_lite0", "--epochs", "1000", "--views", "64")
KEYS = for_boto3()
TRIES = """
import sys
from kennel.commands.iam import try_policies
from tasks.account.permission_use import tightened
from tasks.account.roles import role_policy
from tasks.run.errors import KennelError
from tasks.run.handle import Run
_, run_id, name, action = sys.argv
run = Run.load(run_id)
try:
    try_policies(run, {name: tightened(role_policy(run.aws.client("iam"), name), {action})})
except KennelError as error:
    sys.stderr.write(str(error))
    sys.exit(error.exit_code)
"""
PULLED = {
    "PullImage",
    "PullImage ecr:BatchCheckLayerAvailability",
    "PullImage ecr:BatchGetImage",
    "PullImage ecr:GetDownloadUrlForLayer",
    "RegistryLogin",
    "RegistryLogin ecr:GetAuthorizationToken",
}
NOT_EXERCISED_BY = {
    "training": {*PULLED, "LogGroup logs:DescribeLogStreams"},
    "instance": set[str](),
    "endpoint": {
        *PULLED,
        "WriteLogs logs:DescribeLogStreams",
        "PutMetrics",
        "PutMetrics cloudwatch:PutMetricData",
    },
    "classify": set[str](),
}
"""What a run on localaws does not use and AWS documents as needed: `tasks.account.permission_use.NOT_EXERCISED`."""


@pytest.fixture(scope="module")
def ec2(calls: Calls) -> Any:
    return boto3.client("ec2", endpoint_url=calls.url, region_name="us-east-1", **KEYS)


@pytest.fixture(scope="module")
def wrong_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file of another network."""
    path = tmp_path_factory.mktemp("weights") / "wrong.safetensors"
    save_file({"other": np.zeros(3, np.float32)}, path)
    return path


@pytest.fixture(scope="module")
def planned(terminal: Terminal) -> list[Planned]:
    """What a run with two instances will make, before it exists."""
    return resources_of(plan_of(terminal))


def plan_of(terminal: Terminal) -> dict[str, Any]:
    options = ("--run-id", RUN, *QUICK, "--instances", "2", "--ec2-instances", "2", "--no-loadtest", "--json")
    shown = terminal.kennel("plan", *options)
    assert shown.code == 0, shown.err
    return shown.answer


def resources_of(plan: dict[str, Any]) -> list[Planned]:
    return [Planned(each["stage"], each["kind"], each["name"]) for each in plan["resources"]]


@pytest.fixture(scope="module")
def trained(terminal: Terminal, photos: Path, planned: list[Planned]) -> Finished:
    """Two instances, one model."""
    return terminal.kennel("train-ec2", "--data", str(photos), "--run-id", RUN, *QUICK, "--instances", "2", "--json")


@pytest.fixture(scope="module")
def compared(trained: Finished, terminal: Terminal, photos: Path) -> Finished:
    """The same model by SageMaker, on an endpoint behind a function: now all roles of a run have worked."""
    options = ("--instances", "2", "--ec2-instances", "2", "--no-loadtest", "--json")
    return terminal.kennel("run", "--data", str(photos), "--run-id", RUN, *QUICK, *options)


def alive(ec2: Any, run_id: str) -> list[str]:
    """Name a run's instances that cost money, asking EC2."""
    filters = [{"Name": "tag:kennel:run", "Values": [run_id]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [item for page in pages for reservation in page["Reservations"] for item in reservation["Instances"]]
    return [item["InstanceId"] for item in found if item["State"]["Name"] not in {"terminated", "shutting-down"}]


def test_what_is_planned_for_ec2_is_what_the_ledger_says_was_created_in_that_order(
    planned: list[Planned], trained: Finished, terminal: Terminal
) -> None:
    rows = read_ledger(terminal.runs / RUN)[1]
    assert [row for row in rows if not any(each.fits(row.kind, row.name) for each in planned)] == []
    ec2 = [each for each in planned if each.stage == "train_ec2"]
    made = [row for row in rows if any(each.fits(row.kind, row.name) for each in ec2)]
    assert [row.kind for row in made] == [each.kind for each in ec2]
    assert sorted(row.name for row in made if row.kind != "instance") == sorted(
        each.name for each in ec2 if each.kind != "instance"
    )


def test_what_ec2_has_trained_is_not_planned_again(trained: Finished, terminal: Terminal) -> None:
    plan = plan_of(terminal)
    assert [each for each in resources_of(plan) if each.stage == "train_ec2"] == []
    assert [each["what"] for each in plan["costs"]] == ["training, 2 × ml.m5.xlarge", "endpoint, 1 × ml.m5.large"]


def test_two_instances_train_one_model_and_are_gone_afterwards(trained: Finished, terminal: Terminal, ec2: Any) -> None:
    assert trained.code == 0, trained.err
    answer = trained.answer
    assert differences("train-ec2", answer) == []
    assert (answer["run_id"], answer["test_images"], answer["instances"]) == (RUN, 12, 2)
    assert answer["test_accuracy"] >= 0.9
    assert set(answer["seconds"]) >= {"launch", "connect", "ship", "fetching", "training", "collect", "terminate"}
    assert len(set(answer["instance_ids"])) == 2
    assert alive(ec2, RUN) == []
    assert (terminal.runs / RUN / "TrainedModels" / "model.tar.gz").stat().st_size > 1_000_000
    assert open_to_others(terminal.home, terminal.runs) == []


def test_both_instances_saw_disjoint_shards(trained: Finished, terminal: Terminal) -> None:
    logs = terminal.kennel("logs", RUN, "--source", "ec2")
    lines = [line for line in logs.out.splitlines() if "split=train shards=" in line]
    names = [set(line.partition("names=")[2].split(",")) for line in lines]
    assert len(names) == 2, logs.out[-2000:] + logs.err
    assert names[0].isdisjoint(names[1])


def test_sagemaker_gives_the_same_model_and_the_report_says_what_differs(trained: Finished, compared: Finished) -> None:
    done = compared
    assert done.code == 0, done.err
    assert differences("run", done.answer) == []
    assert done.answer["ec2"]["instance_ids"] == trained.answer["instance_ids"], "the EC2 training was not adopted"
    assert done.answer["ec2"]["largest_difference_from_sagemaker"] == 0.0
    assert done.answer["test_accuracy"] == trained.answer["test_accuracy"]
    report = Path(done.answer["report"]).read_text()
    assert "every weight is equal" in report
    assert "SM_CHANNEL_TRAIN" in report


@pytest.mark.parametrize("role", ["training", "instance", "endpoint", "classify"])
def test_no_role_has_a_statement_or_an_action_that_it_did_not_need(
    compared: Finished, own_localaws: RunningLocalAws, role: str
) -> None:
    """Decides what the role asked for in this run again, without one part of its policy after the other."""
    needed = asked_by(own_localaws, f"kennel-{RUN}-{role}").needed_for()
    assert {part for part, denied in needed.items() if not denied} == NOT_EXERCISED_BY[role]
    assert all(f"{action} on " in " ".join(needed[part]) for part, action in parts_with_action(needed))


def test_used_tells_what_each_role_did_and_the_report_has_it(compared: Finished, terminal: Terminal) -> None:
    done = terminal.kennel("iam", "used", RUN, "--json")
    assert done.code == 0, done.err
    assert done.answer["tightened"] == {}
    rows = {(row["role"].rpartition("-")[2], row["action"]): row for row in done.answer["rows"]}
    assert {row["state"] for row in rows.values()} == {"used", "not exercised"}
    read, pulled = rows["training", "s3:GetObject"], rows["training", "ecr:BatchGetImage"]
    assert read["count"] > 10 and read["last"] and not read["denied"]
    assert pulled["state"] == "not exercised" and "sagemaker-roles" in pulled["note"]
    report = Path(compared.answer["report"]).read_text()
    row = rf"<td><code>kennel-{RUN}-classify</code></td>\s*<td><code>sagemaker:InvokeEndpoint</code></td>\s*<td>used, "
    assert ">Permissions</h2>" in report and re.search(row, report)


def test_what_a_role_does_not_use_is_taken_away_and_the_deployment_is_tested(
    compared: Finished, terminal: Terminal, own_localaws: RunningLocalAws
) -> None:
    iam, name = own_localaws.client("iam"), f"kennel-{RUN}-classify"
    before = iam.get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"]
    wider = {**before, "Statement": [*before["Statement"], {"Sid": "Wide", **allow(["s3:ListAllMyBuckets"])}]}
    iam.put_role_policy(RoleName=name, PolicyName="kennel", PolicyDocument=json.dumps(wider))
    done = terminal.kennel("iam", "used", RUN, "--apply")
    assert done.code == 0, done.err
    assert "  s3:ListAllMyBuckets: unused" in done.out
    assert iam.get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"] == before
    kept = json.loads((terminal.runs / RUN / "permissions.json").read_bytes())["taken_away"]
    assert [(each["role"], each["action"]) for each in kept] == [(name, "s3:ListAllMyBuckets")]
    assert terminal.kennel("writeup", RUN).code == 0
    told = (terminal.runs / RUN / "writeup" / "writeup.html").read_text()
    assert "Found and mended: " in told and f"s3:ListAllMyBuckets of {name}" in told


def test_a_policy_under_which_something_is_denied_is_taken_back(
    compared: Finished, terminal: Terminal, own_localaws: RunningLocalAws
) -> None:
    iam, name = own_localaws.client("iam"), f"kennel-{RUN}-classify"
    before = iam.get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"]
    done = terminal.program("-c", TRIES, RUN, name, "logs:PutLogEvents")
    assert done.code == 9, done.err
    assert f"{name} was denied logs:PutLogEvents" in done.err
    assert iam.get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"] == before


def test_the_same_command_again_makes_no_mutating_call(
    trained: Finished, terminal: Terminal, calls: Calls, photos: Path
) -> None:
    calls.seen.clear()
    again = terminal.kennel("train-ec2", "--data", str(photos), "--run-id", RUN, *QUICK, "--instances", "2", "--json")
    assert again.code == 0, again.err
    assert calls.mutating() == []
    assert again.answer["instance_ids"] == trained.answer["instance_ids"]


def start(terminal: Terminal, photos: Path, run_id: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kennel", "train-ec2", "--data", str(photos), "--run-id", run_id, *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=terminal.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def is_training(terminal: Terminal, run_id: str) -> bool:
    logs = list((terminal.runs / run_id / "ec2").glob("i-*.log"))
    return any("split=train" in log.read_text() for log in logs)


def has_begun(terminal: Terminal, run_id: str) -> bool:
    """Tell whether the supervisor has said something, which is seconds before the training can have ended."""
    return any(log.stat().st_size for log in (terminal.runs / run_id / "ec2").glob("i-*.log"))


def test_ctrl_c_terminates_the_instances_before_it_ends(terminal: Terminal, photos: Path, ec2: Any) -> None:
    with start(terminal, photos, "ec2-ctrl-c", *LONG) as process:
        wait_until(
            lambda: is_training(terminal, "ec2-ctrl-c") or process.poll() is not None, "the training", seconds=250
        )
        assert alive(ec2, "ec2-ctrl-c") != []
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "1 EC2 instances terminated" in err
    assert alive(ec2, "ec2-ctrl-c") == []


def test_a_command_that_was_killed_is_taken_up_where_the_training_is(
    terminal: Terminal, photos: Path, ec2: Any
) -> None:
    run_id, options = "ec2-killed", ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "48", "--json")
    with start(terminal, photos, run_id, *options) as process:
        wait_until(lambda: is_training(terminal, run_id) or process.poll() is not None, "the training", seconds=250)
        process.kill()
        process.communicate()
    instance = alive(ec2, run_id)
    assert len(instance) == 1
    again = terminal.kennel("train-ec2", "--data", str(photos), "--run-id", run_id, *options)
    assert again.code == 0, again.err
    assert again.answer["instance_ids"] == instance
    assert "continues on" in again.err
    log = next((terminal.runs / run_id / "ec2").glob("i-*.log")).read_text()
    assert log.count("split=train shards=") == 1, "the log was copied twice, or the training started twice"
    assert alive(ec2, run_id) == []


def test_a_spot_instance_that_is_taken_back_goes_on_elsewhere(
    terminal: Terminal, photos: Path, ec2: Any, calls: Calls, own_localaws: RunningLocalAws
) -> None:
    run_id, options = "ec2-spot", ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "48", "--spot")
    with start(terminal, photos, run_id, *options, "--json") as process:
        wait_until(lambda: has_begun(terminal, run_id) or process.poll() is not None, "the supervisor", seconds=250)
        taken = alive(ec2, run_id)[0]
        url = f"{calls.url}/_localaws/instances/{taken}/interrupt"
        request = urllib.request.Request(url, method="POST", headers=dict(bearer()))
        urllib.request.urlopen(request, timeout=60).close()
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    answer = json.loads(out)
    assert answer["interruptions"] == 1
    assert taken not in answer["instance_ids"]
    assert alive(ec2, run_id) == []
    needed = asked_by(own_localaws, f"kennel-{run_id}-instance").needed_for()
    assert {part for part, denied in needed.items() if not denied} == {"KeepCheckpoints s3:AbortMultipartUpload"}


def test_a_failed_training_is_named_and_leaves_no_instance(
    terminal: Terminal, photos: Path, wrong_weights: Path, ec2: Any
) -> None:
    done = terminal.kennel(
        "train-ec2", "--data", str(photos), "--run-id", "ec2-failed", "--weights", str(wrong_weights), *QUICK
    )
    assert done.code == 9, done.err
    assert "it failed on instance-1" in done.err
    assert "safetensors" in done.err
    assert alive(ec2, "ec2-failed") == []


def test_an_instance_whose_role_may_not_read_its_inputs_fails_and_names_it(
    terminal: Terminal, photos: Path, own_localaws: RunningLocalAws
) -> None:
    """The role has a policy beside kennel's own, which denies what that allows."""
    iam, run_id = own_localaws.client("iam"), "ec2-denied"
    tags = [*naming.tag_list(run_id), {"Key": naming.REGION_TAG, "Value": "us-east-1"}]
    name = f"kennel-{run_id}-instance"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("ec2"), Tags=tags)
    iam.put_role_policy(RoleName=name, PolicyName="other", PolicyDocument=document(deny("s3:GetObject")))
    done = terminal.kennel("train-ec2", "--data", str(photos), "--run-id", run_id, *QUICK)
    assert done.code == 9, done.err
    assert "403" in done.err or "AccessDenied" in done.err, done.err


def test_a_failed_instance_is_kept_when_asked_and_its_ssh_line_works(
    terminal: Terminal, photos: Path, wrong_weights: Path, ec2: Any
) -> None:
    options = ("--weights", str(wrong_weights), *QUICK, "--keep-on-failure", "30m")
    done = terminal.kennel("train-ec2", "--data", str(photos), "--run-id", "ec2-kept", *options)
    assert done.code == 9, done.err
    assert len(alive(ec2, "ec2-kept")) == 1
    line = next(line for line in done.err.splitlines() if " ssh -i " in line)
    command = f"{line[line.index('ssh -i') :]} 'cat kennel/*/status.json'"  # as a person pastes it
    looked = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert '"state": "failed"' in looked.stdout, looked.stderr
    assert terminal.kennel("down", "ec2-kept", "--yes").code == 0
    assert alive(ec2, "ec2-kept") == []


def test_down_leaves_no_instance_group_key_or_profile(trained: Finished, terminal: Terminal, ec2: Any) -> None:
    done = terminal.kennel("down", "--yes", "--json")
    assert done.code == 0, done.err
    assert [key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]] == []
    groups = [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]]
    assert [name for name in groups if name.startswith("kennel-")] == []
    iam = boto3.client("iam", endpoint_url=ec2.meta.endpoint_url, region_name="us-east-1", **KEYS)
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    assert list(terminal.runs.glob("*/ec2/*key*")) == []
