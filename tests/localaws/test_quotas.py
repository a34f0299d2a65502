"""Service Quotas, and refusals of what an account that was just opened may not have yet."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.ec2.images import PUBLISHED
from localaws.errors import AwsError
from localaws.quotas.account import Quotas, vcpu_quota
from tests.conftest import RunningLocalAws, running_localaws
from tests.localaws.functions.functions_kit import zipped
from tests.localaws.roles import make_role
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, workbench
from tests.localaws.sagemaker.training.training_rooms import Room


@pytest.fixture(scope="module")
def new() -> Iterator[RunningLocalAws]:
    with running_localaws("--account", "new") as server:
        yield server


@pytest.fixture(scope="module")
def bench(new: RunningLocalAws) -> Iterator[Workbench]:
    with workbench(new) as bench:
        yield bench


def test_names_codes_and_defaults_are_those_of_aws(new: RunningLocalAws, localaws: RunningLocalAws) -> None:
    asked = {"ServiceCode": "sagemaker", "QuotaCode": "L-611FA074"}
    for server, value in ((new, 0.0), (localaws, 20.0)):
        found = server.client("service-quotas").get_service_quota(**asked)["Quota"]
        assert (found["QuotaName"], found["Value"]) == ("ml.m5.large for training job usage", value)
    assert localaws.client("service-quotas").get_aws_default_service_quota(**asked)["Quota"]["Value"] == 0.0


def test_all_are_listed_in_pages_and_what_is_unknown_is_refused_by_name(new: RunningLocalAws) -> None:
    quotas = new.client("service-quotas")
    pages = list(quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"))
    names = [each["QuotaName"] for page in pages for each in page["Quotas"]]
    assert len(pages) > 1
    assert len(set(names)) == len(names)
    assert "ml.g4dn.xlarge for endpoint usage" in names
    with pytest.raises(ClientError, match=r"NoSuchResourceException.*does not exist: nope"):
        quotas.list_service_quotas(ServiceCode="nope")
    with pytest.raises(ClientError, match=r"NoSuchResourceException.*L-0"):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0")


def _train(bench: Workbench) -> None:
    room = Room(bench.localaws.client, bench.localaws.url, bench.localaws.home, "kennel-quotas", bench.role_arn)
    bench.localaws.client("s3").create_bucket(Bucket=room.bucket)
    room.start("print()")


def _deploy(bench: Workbench) -> None:
    bench.start(bench.config({"ModelName": bench.model()}))


def _launch(bench: Workbench, **more: Any) -> None:
    bench.localaws.client("ec2").run_instances(
        ImageId=PUBLISHED[0].ami_id, InstanceType="m5.2xlarge", MinCount=1, MaxCount=1, **more
    )


def _launch_on_the_spot_market(bench: Workbench) -> None:
    _launch(bench, InstanceMarketOptions={"MarketType": "spot"})


@pytest.mark.parametrize(
    ("act", "code", "text"),
    [
        (_train, "ResourceLimitExceeded", "'ml.m5.large for training job usage' is 0 Instances, with current"),
        (_deploy, "ResourceLimitExceeded", "'ml.m5.large for endpoint usage' is 0 Instances, with current"),
        (_launch, "VcpuLimitExceeded", "current vCPU limit of 5 allows"),
        (_launch_on_the_spot_market, "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
    ],
)
def test_a_new_account_may_not(bench: Workbench, act: Callable[[Workbench], None], code: str, text: str) -> None:
    with pytest.raises(ClientError) as refusal:
        act(bench)
    assert refusal.value.response["Error"]["Code"] == code
    assert text in refusal.value.response["Error"]["Message"]


def test_a_new_account_has_ten_executions_and_none_to_reserve(new: RunningLocalAws, bench: Workbench) -> None:
    functions = new.client("lambda")
    assert functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10
    role = make_role(new.client("iam"), "kennel-quotas-function", "lambda")
    functions.create_function(
        FunctionName="few", Role=role, Runtime="python3.12", Handler="a.b", Code={"ZipFile": zipped("")}
    )
    with pytest.raises(ClientError, match=r"below its minimum value of \[10\]"):
        functions.put_function_concurrency(FunctionName="few", ReservedConcurrentExecutions=1)


def test_what_runs_counts() -> None:
    old = Quotas("old")
    old.require_instances("ml.m5.large", "endpoint", current=19, wanted=1)
    with pytest.raises(AwsError, match="utilization of 19 Instances and a request delta of 2"):
        old.require_instances("ml.m5.large", "endpoint", current=19, wanted=2)
    old.require_instances("ml.m5.large", "endpoint", current=30, wanted=-5)


@pytest.mark.parametrize(
    ("instance_type", "quota"), [("m5.large", "L-1216C47A"), ("g5.xlarge", "L-DB2E81BA"), ("vt1.3xlarge", "L-DB2E81BA")]
)
def test_vcpus_are_counted_by_family(instance_type: str, quota: str) -> None:
    assert vcpu_quota(instance_type, is_spot=False) == quota
