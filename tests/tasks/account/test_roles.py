"""Tests of roles and log groups against localaws: least privilege, adoption, repair, and refusal of foreign ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.account.role_policies import RoleSpec, endpoint_role, function_role, staging_role, training_role
from tasks.account.roles import ensure_log_group, ensure_role
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, WeightsRef
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault

DATA = DatasetRef("b", "datasets/d", "d", "dogs", ("x", "y"), {"train": {"x": 1, "y": 1}}, 10, 0, "sample")
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"
WEIGHTS = WeightsRef("b", "weights/resnet50/0", "resnet50", "0" * 64, 10)


@pytest.fixture
def aws(localaws: RunningLocalAws, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=localaws.url, runs=tmp_path, region="us-east-1"))


def actions_on_everything(spec: RoleSpec) -> set[str]:
    return {action for item in spec.statements if "*" in item["Resource"] for action in item["Action"]}


def resources_of(spec: RoleSpec, action: str) -> list[str]:
    return [arn for item in spec.statements if action in item["Action"] for arn in item["Resource"]]


def test_the_training_role_reads_its_inputs_and_writes_its_outputs_and_nothing_else_in_s3(aws: Aws) -> None:
    spec = training_role(aws, "run", DATA, WEIGHTS, keeps_checkpoints=True)
    assert resources_of(spec, "s3:GetObject") == [
        "arn:aws:s3:::b/datasets/d/*",
        "arn:aws:s3:::b/runs/run/code/*",
        "arn:aws:s3:::b/weights/resnet50/0/*",
        "arn:aws:s3:::b/runs/run/checkpoints/*",
    ]
    assert resources_of(spec, "s3:PutObject") == [
        "arn:aws:s3:::b/runs/run/output/*",
        "arn:aws:s3:::b/runs/run/checkpoints/*",
    ]
    assert actions_on_everything(spec) == {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}
    assert "checkpoints" not in json.dumps(training_role(aws, "run", DATA, WEIGHTS).policy)


def test_a_role_that_iam_does_not_know_everywhere_yet_gets_its_policy_later(calls: Calls, tmp_path: Path) -> None:
    unknown = "<Error><Code>NoSuchEntity</Code><Message>The role with name r cannot be found.</Message></Error>"
    answer = f"<ErrorResponse>{unknown}<RequestId>0</RequestId></ErrorResponse>".encode()
    calls.faults.append(Fault("PutRolePolicy", instead=(404, answer), times=2))
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path))
    spec = function_role(aws, "late", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e", "/aws/lambda/f")
    ensure_role(Run(aws, "late"), spec)
    assert calls.seen.count("PutRolePolicy") == 3
    assert aws.client("iam").list_role_policies(RoleName=spec.name)["PolicyNames"]


def test_the_endpoint_role_reads_one_object(aws: Aws) -> None:
    spec = endpoint_role(
        aws, "run", ["s3://b/runs/run/output/j/output/model.tar.gz"], "/aws/sagemaker/Endpoints/e", image=IMAGE
    )
    assert resources_of(spec, "s3:GetObject") == ["arn:aws:s3:::b/runs/run/output/j/output/model.tar.gz"]
    assert resources_of(spec, "s3:PutObject") == []


def test_the_endpoint_role_writes_kept_requests_to_their_prefix_only(aws: Aws) -> None:
    spec = endpoint_role(aws, "run", ["s3://b/runs/run/m.tar.gz"], "/aws/x", image=IMAGE, key_arn="k", captures=True)
    assert resources_of(spec, "s3:PutObject") == ["arn:aws:s3:::b/runs/run/captured/*"]
    assert resources_of(spec, "kms:GenerateDataKey") == ["k"]


def test_sagemaker_may_use_a_role_only_for_what_it_is_made_for(aws: Aws) -> None:
    """As narrow as AWS documents it: for endpoints, anything of the account in the region."""
    endpoint = endpoint_role(aws, "run", ["s3://b/model.tar.gz"], "/aws/sagemaker/Endpoints/e", image=IMAGE)
    kinds = ((training_role(aws, "run", DATA, None), "training-job/kennel-run-train-*"), (endpoint, "*"))
    for spec, source in kinds:
        assert spec.trust["Statement"][0]["Condition"] == {
            "StringEquals": {"aws:SourceAccount": "123456789012"},
            "ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:us-east-1:123456789012:{source}"},
        }


def test_the_staging_role_reads_the_source_and_its_key_only_and_writes_below_its_run_only(aws: Aws) -> None:
    spec = staging_role(aws, "run", "photos/a$b/*/", bucket="b")
    assert resources_of(spec, "s3:GetObject") == [
        "arn:aws:s3:::photos/a${$}b/${*}/*",
        "arn:aws:s3:::b/runs/run/staging/*",
    ]
    assert resources_of(spec, "s3:PutObject") == ["arn:aws:s3:::b/runs/run/staging/*"], "and no dataset"
    (opens,) = [each for each in spec.statements if each["Action"] == ["kms:Decrypt"]]
    assert opens["Condition"]["StringLikeIfExists"] == {
        "kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::photos/a${$}b/${*}/*", "arn:aws:s3:::photos"]
    }


@pytest.mark.parametrize(
    ("stream", "is_own"),
    [
        ("kennel-run-train-0a1b2c3d/algo-1-1", True),
        ("kennel-run-train-0a1b2c3d-2/algo-1-1", True),
        ("kennel-run-train-0a1b2c3d-20/algo-2-1", True),
        ("kennel-run-2-train-0a1b2c3d/algo-1-1", False),
        ("kennel-run-train-x-train-0a1b2c3d/algo-1-1", False),
        ("other-job/algo-1-1", False),
    ],
)
def test_the_training_role_writes_to_the_streams_of_its_own_jobs_only(
    localaws: RunningLocalAws, aws: Aws, stream: str, is_own: bool
) -> None:
    policy = json.dumps(training_role(aws, "run", DATA, None).policy)
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/TrainingJobs"
    (decided,) = localaws.client("iam").simulate_custom_policy(
        PolicyInputList=[policy],
        ActionNames=["logs:PutLogEvents"],
        ResourceArns=[f"{group}:log-stream:{stream}"],
    )["EvaluationResults"]
    assert (decided["EvalDecision"] == "allowed") == is_own


def test_the_function_role_invokes_one_endpoint_and_writes_one_log_group(aws: Aws) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"
    spec = function_role(aws, "run", arn, "/aws/lambda/f")
    assert resources_of(spec, "sagemaker:InvokeEndpoint") == [arn]
    assert all("/aws/lambda/f" in group for group in resources_of(spec, "logs:PutLogEvents"))
    assert actions_on_everything(spec) == set()
    assert {action for item in spec.statements for action in item["Action"]} == {
        "sagemaker:InvokeEndpoint",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }


def policy_of(iam: Any, name: str) -> Any:
    return iam.get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"]


def test_a_role_is_adopted_and_a_changed_policy_is_brought_back(aws: Aws) -> None:
    spec = function_role(aws, "roles-1", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e", "/aws/lambda/f")
    run = Run(aws, "roles-1")
    first = ensure_role(run, spec)
    iam = aws.client("iam")
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=spec.name, PolicyName="kennel", PolicyDocument=json.dumps(wide))
    assert ensure_role(run, spec) == first
    assert policy_of(iam, spec.name) == spec.policy
    assert {"Key": "kennel:region", "Value": "us-east-1"} in iam.get_role(RoleName=spec.name)["Role"]["Tags"]
    assert [(row.kind, row.name, row.state) for row in run.ledger.rows()] == [("role", spec.name, "created")]


def test_a_role_of_that_name_without_our_tags_is_left_alone(aws: Aws) -> None:
    spec = function_role(aws, "roles-2", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e", "/aws/lambda/f")
    aws.client("iam").create_role(RoleName=spec.name, AssumeRolePolicyDocument=json.dumps(spec.trust))
    with pytest.raises(OwnershipRefused, match="does not carry the tags of run roles-2"):
        ensure_role(Run(aws, "roles-2"), spec)
    assert aws.client("iam").list_role_policies(RoleName=spec.name)["PolicyNames"] == []


def test_a_log_group_of_that_name_without_our_tags_is_left_alone(aws: Aws) -> None:
    logs, name = aws.client("logs"), "/aws/lambda/kennel-roles-4"
    logs.create_log_group(logGroupName=name)
    with pytest.raises(OwnershipRefused, match="log group /aws/lambda/kennel-roles-4"):
        ensure_log_group(Run(aws, "roles-4"), name)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]


def test_a_log_group_is_made_once_and_forgets(aws: Aws) -> None:
    run = Run(aws, "roles-3")
    for _ in range(2):
        ensure_log_group(run, "/aws/lambda/kennel-roles-3")
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/kennel-roles-3")["logGroups"]
    assert [(group["logGroupName"], group["retentionInDays"]) for group in groups] == [
        ("/aws/lambda/kennel-roles-3", 30)
    ]
    assert [row.state for row in run.ledger.rows()] == ["created"]
