"""The one port: what is supported answers, what is not says so."""

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws


def test_an_unsupported_service_is_named_in_an_aws_shaped_error(localaws: RunningLocalAws) -> None:
    with pytest.raises(ClientError) as caught:
        localaws.client("sqs").list_queues()
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"
    assert "'sqs'" in caught.value.response["Error"]["Message"]
