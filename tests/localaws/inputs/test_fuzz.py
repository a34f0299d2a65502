"""No operation that lists or describes answers what it is asked with a fault of the server's."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from localaws.front import SERVICES
from tests.conftest import RunningLocalAws
from tests.keys import for_boto3
from tests.localaws.inputs.values import READING, requests_of

NOT_EMULATED = 501
STREAMING = ("GetLogObject", "StartLiveTail", "SelectObjectContent")


def operations_of(client: Any) -> Iterator[Any]:
    model = client.meta.service_model
    return (model.operation_model(name) for name in model.operation_names if name.startswith(READING))


def faults_of(client: Any, operation: Any) -> Iterator[str]:
    """Yield what the server fails at, until the operation turns out to be one that is refused by name."""
    for parameters in requests_of(operation.input_shape):
        try:
            getattr(client, xform_name(operation.name))(**parameters)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == NOT_EMULATED or error.response["Error"]["Code"].startswith("UnsupportedOperation"):
                return
            if status >= 500:
                yield f"{operation.name}({parameters}): {error.response['Error']}"
        except (KeyError, TypeError, ParamValidationError):
            continue  # botocore's own: it cannot build the path of a request without its labels


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", sorted({each.model for each in SERVICES.values()}))
def test_no_input_of_a_reading_operation_is_a_fault(own_localaws: RunningLocalAws, service: str) -> None:
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    client = boto3.client(service, endpoint_url=own_localaws.url, region_name="us-east-1", config=config, **for_boto3())
    operations = [each for each in operations_of(client) if each.name not in STREAMING]
    faults = [fault for each in operations for fault in faults_of(client, each)]
    assert not faults, "\n".join(faults)
