"""A server executes in the region that it was started for, and refuses others by name."""

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import running_localaws
from tests.keys import for_boto3
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
