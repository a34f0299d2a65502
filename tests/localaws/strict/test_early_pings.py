"""An endpoint of a strict server is in service before its model has loaded, and when it cannot be, as TorchServe's."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench, workbench
from tests.localaws.scaled_server import ScaledServer
from tests.localaws.strict.conftest import wait_for_roles
from tests.polling import wait_until

pytestmark = pytest.mark.strict

SLOW = ECHO.replace("    return os.path", "    import time; time.sleep(10)\n    return os.path")
BROKEN = ECHO.replace("    return os.path", "    raise ValueError('no weights')\n    return os.path")


@pytest.fixture(scope="module")
def bench(strict: ScaledServer) -> Iterator[Workbench]:
    with workbench(strict.localaws) as made:
        wait_for_roles(strict)
        yield made


def refusal_of(bench: Workbench, endpoint: str) -> tuple[int, str] | None:
    """Return the model's own status and message, None if it answers."""
    try:
        bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ModelError"
        return error.response["OriginalStatusCode"], error.response["OriginalMessage"]
    return None


def test_an_endpoint_is_in_service_before_its_model_has_loaded(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(SLOW))

    refusal = refusal_of(bench, endpoint)

    assert refusal is not None
    assert refusal[0] == 503
    assert "has no worker to serve inference request" in refusal[1]
    wait_until(lambda: refusal_of(bench, endpoint) is None, "the model to load")


def test_an_endpoint_whose_model_cannot_be_loaded_stays_in_service_and_answers_503(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(BROKEN))

    wait_until(lambda: any("no weights" in line for line in bench.log(endpoint)), "the failure in the log")
    refusal = refusal_of(bench, endpoint)

    assert refusal is not None and refusal[0] == 503
    assert bench.settled(endpoint)["EndpointStatus"] == "InService"
