"""What a run needs of an account's quotas, asked of an account that was just opened and of one in use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.doctor.quotas import Needed, needed_for, require_quotas, shortfalls
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, LimitReached
from tasks.run.options import DeployOptions, Ec2TrainingOptions, TrainingOptions
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws, running_localaws

ALL = needed_for("us-east-1", TrainingOptions(instances=2), DeployOptions(), Ec2TrainingOptions(instances=2))


@pytest.fixture(scope="module")
def new() -> Iterator[RunningLocalAws]:
    with running_localaws("--account", "new") as server:
        yield server


def aws_of(server: RunningLocalAws, tmp_path: Path) -> Aws:
    return Aws(Settings(home=tmp_path, endpoint_url=server.url))


def test_what_is_needed_is_named_as_aws_names_its_quotas() -> None:
    assert [(each.service, each.name, each.amount) for each in ALL] == [
        ("sagemaker", "ml.m5.xlarge for training job usage", 2),
        ("sagemaker", "ml.m5.large for endpoint usage", 1),
        ("ec2", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 8),
    ]
    gpu = needed_for("us-east-1", TrainingOptions(finetune=True, spot=True), ec2=Ec2TrainingOptions(finetune=True))
    assert [each.name for each in gpu] == [
        "ml.g4dn.xlarge for spot training job usage",
        "Running On-Demand G and VT instances",
    ]


def test_a_new_account_is_told_each_quota_and_the_command_that_asks(new: RunningLocalAws, tmp_path: Path) -> None:
    with pytest.raises(LimitReached) as refusal:
        require_quotas(aws_of(new, tmp_path), ALL)
    said = str(refusal.value)
    assert "too little of 3 quotas" in said
    assert "'ml.m5.large for endpoint usage' is 0, and the endpoint (1 × ml.m5.large) needs 1" in said
    assert "'Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances' is 5, and EC2 training" in said
    ask = "service-quotas request-service-quota-increase --service-code=sagemaker --quota-code=L-614B09FD"
    assert f"aws --endpoint-url {new.url} {ask} --desired-value=1" in said


def test_quotas_that_cannot_be_read_are_not_in_the_way(localaws: RunningLocalAws, tmp_path: Path) -> None:
    elsewhere = [Needed("nope", "a quota", 1, "a service that Service Quotas does not know")]
    require_quotas(aws_of(localaws, tmp_path), elsewhere)
    with pytest.raises(AwsFailed):
        shortfalls(aws_of(localaws, tmp_path), elsewhere)


def test_an_account_in_use_has_enough_and_an_unknown_quota_is_not_in_the_way(
    localaws: RunningLocalAws, tmp_path: Path
) -> None:
    aws = aws_of(localaws, tmp_path)
    require_quotas(aws, [*ALL, Needed("sagemaker", "ml.z99.large for endpoint usage", 3, "a type of tomorrow")])
    assert [each.value for each in shortfalls(aws, needed_for("us-east-1", TrainingOptions(instances=20)))] == []
