"""A server executes in the region that it was started for, is of that region's partition, and refuses other regions."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws, running_localaws
from tests.keys import for_boto3
from tests.localaws.callers import document
from tests.localaws.ec2.ec2_rooms import IMAGE_PARAMETER, refused
from tests.localaws.functions.functions_kit import Functions, zipped
from tests.localaws.roles import make_role

HANDLER = (
    "import os\ndef handler(event, context):\n    return [os.environ['AWS_REGION'], context.invoked_function_arn]\n"
)


def test_a_function_runs_in_the_servers_region_and_in_no_other() -> None:
    with running_localaws("--region", "eu-central-1") as server:

        def client(service: str, region: str = "eu-central-1") -> object:
            return boto3.client(service, endpoint_url=server.url, region_name=region, **for_boto3())

        role = make_role(client("iam"), "lambda-eu", "lambda")
        functions = Functions(client("lambda"), role)
        functions.create("f", Code={"ZipFile": zipped(HANDLER)})
        arn = "arn:aws:lambda:eu-central-1:123456789012:function:f"
        assert functions.invoke("f")["Payload"] == ["eu-central-1", arn]
        with pytest.raises(ClientError, match="runs Lambda functions in eu-central-1 only, not in us-east-1"):
            Functions(client("lambda", "us-east-1"), role).create("f", Code={"ZipFile": zipped(HANDLER)})


# --- another partition ------------------------------------------------------------------------------------------------

CHINA = "cn-north-1"
ASKS = """
import boto3
def handler(event, context):
    return [boto3.client("sts").get_caller_identity()["Arn"], context.invoked_function_arn]
"""


@pytest.fixture(scope="module")
def china() -> Iterator[RunningLocalAws]:
    with running_localaws("--region", CHINA) as server:
        yield server


def client_in_china(server: RunningLocalAws, service: str, **keys: str) -> Any:
    return boto3.client(service, endpoint_url=server.url, region_name=CHINA, **(keys or for_boto3()))


@pytest.mark.strict
def test_roles_functions_and_their_sessions_are_of_the_regions_partition(china: RunningLocalAws) -> None:
    role = make_role(client_in_china(china, "iam"), "lambda-cn", "lambda")
    functions = Functions(client_in_china(china, "lambda"), role)
    functions.create("f", Code={"ZipFile": zipped(ASKS)})

    session, function = functions.invoke("f")["Payload"]

    assert role == "arn:aws-cn:iam::123456789012:role/lambda-cn"
    assert session.startswith("arn:aws-cn:sts::123456789012:assumed-role/lambda-cn/f")
    assert function == "arn:aws-cn:lambda:cn-north-1:123456789012:function:f"


@pytest.mark.strict
@pytest.mark.parametrize(("partition", "is_allowed"), [("aws-cn", True), ("aws", False)])
def test_a_policy_counts_for_the_resources_of_its_partition(
    china: RunningLocalAws, partition: str, is_allowed: bool
) -> None:
    iam, bucket = client_in_china(china, "iam"), f"photos-{partition}"
    statement = {"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": f"arn:{partition}:s3:::{bucket}"}
    iam.create_user(UserName=bucket)
    iam.put_user_policy(UserName=bucket, PolicyName="own", PolicyDocument=document(statement))
    key = iam.create_access_key(UserName=bucket)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    create = client_in_china(china, "s3", **keys).create_bucket
    request = {"Bucket": bucket, "CreateBucketConfiguration": {"LocationConstraint": CHINA}}

    if is_allowed:
        create(**request)
    else:
        with refused("AccessDenied", f'on resource: "arn:aws-cn:s3:::{bucket}"'):
            create(**request)


@pytest.mark.strict
def test_instances_can_be_launched_where_it_is_not_known_what_is_offered(china: RunningLocalAws) -> None:
    image = client_in_china(china, "ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]
    launch = client_in_china(china, "ec2").run_instances
    with refused("DryRunOperation"):
        launch(ImageId=image, InstanceType="c5.large", MinCount=1, MaxCount=1, DryRun=True)


@pytest.mark.parametrize("name", ["mars-north-1", "us-iso-west-1", "us-east-11", "x"])
def test_a_region_that_does_not_exist_or_has_no_sagemaker_is_refused(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localaws", "start", "--region", name, "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"region='{name}': must be the name of an AWS region with SageMaker; similar are " in done.stderr
    assert not (tmp_path / "home").exists()
