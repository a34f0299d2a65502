"""Clients for tests that launch instances; what a test has launched ends with it."""

import shutil
from collections.abc import Iterator

import pytest

from tasks.ec2.terminate import terminate
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tests.counting_proxy import Calls
from tests.tasks.ec2.instances import account, living


@pytest.fixture(scope="module")
def shared(counted: Calls, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    """One attempt a call, so that what is seen is our own second look and not botocore's; run ids keep tests apart."""
    return account(counted.url, tmp_path_factory.mktemp("instances"), max_attempts=1, ec2_launch_seconds=120)


@pytest.fixture
def aws(shared: Aws, counted: Calls) -> Iterator[Aws]:
    """End every instance after the test."""
    yield shared
    counted.faults.clear()
    for folder in shared.settings.runs.glob("*"):
        if ids := [item["InstanceId"] for item in living(shared, folder.name)]:
            terminate(Run(shared, folder.name), ids)
        shutil.rmtree(folder)
