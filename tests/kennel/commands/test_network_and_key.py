"""A whole run in a VPC and with a key of the user's own, as the operator, in an account without a default VPC."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningLocalAws, running_localaws
from tests.counting_proxy import Calls, counting_proxy
from tests.kennel.shell import Finished, Terminal
from tests.keys import OPERATOR, give_keys
from tests.vpcs import Vpc, make_vpc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUN, ALIAS, BUCKET = "sealed", "alias/photos", "photos-of-ours"
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1")


@dataclass(frozen=True)
class Account:
    """An account without a default VPC, but with a VPC and a key of its own; `terminal` works in it as the operator."""

    server: RunningLocalAws
    vpc: Vpc
    key: str
    terminal: Terminal
    calls: Calls

    def run(self, photos: Path, *more: str) -> Finished:
        subnets = [word for each in self.vpc.subnets for word in ("--subnet", each)]
        network = (*subnets, "--security-group", self.vpc.group, "--kms-key", ALIAS)
        options = ("--no-loadtest", "--json")
        return self.terminal.kennel("run", "--data", str(photos), "--run-id", RUN, *QUICK, *network, *options, *more)


def remove_default_vpc(ec2: Any) -> None:
    (default,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [default["VpcId"]]}])["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=default["VpcId"])


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("account")
    with running_localaws("--operator", str(give_keys(folder / "keys"))) as server, counting_proxy(server.url) as calls:
        remove_default_vpc(server.client("ec2"))
        key = server.client("kms").create_key()["KeyMetadata"]["Arn"]
        server.client("kms").create_alias(AliasName=ALIAS, TargetKeyId=key)
        more = {
            "AWS_ENDPOINT_URL": calls.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": OPERATOR.access_key_id,
            "AWS_SECRET_ACCESS_KEY": OPERATOR.secret_access_key,
        }
        terminal = Terminal(folder / "home", folder / "runs", more)
        yield Account(server, make_vpc(server.client("ec2"), "a", "b"), key, terminal, calls)
        terminal.take_down()


@pytest.fixture(scope="module")
def first(account: Account, photos: Path) -> Finished:
    return account.run(photos)


def test_without_a_default_vpc_a_run_on_ec2_ends_before_anything_is_made(account: Account, photos: Path) -> None:
    account.calls.seen.clear()
    for command in (("run", "--ec2-instances", "1"), ("train-ec2",)):
        done = account.terminal.kennel(*command, "--data", str(photos), "--run-id", "nowhere", *QUICK)
        assert (done.code, "default VPC" in done.err) == (5, True), done.err
        assert "--subnet" in done.err
    assert account.calls.mutating() == []


def test_a_key_or_subnet_that_does_not_exist_ends_the_run_before_anything_is_made(
    account: Account, photos: Path
) -> None:
    account.calls.seen.clear()
    for named, said in ((("--kms-key", "alias/nobody"), "alias/nobody"), (("--subnet", "subnet-01234567"), "subnet-0")):
        done = account.terminal.kennel("run", "--data", str(photos), "--run-id", "nowhere", *QUICK, *named)
        assert (done.code, said in done.err) == (2, True), done.err
    assert account.calls.mutating() == []


def test_everything_of_the_run_is_in_the_vpc_and_sealed(first: Finished, account: Account) -> None:
    assert first.code == 0, first.err
    answer, sagemaker = first.answer, account.server.client("sagemaker")
    (job,) = sagemaker.list_training_jobs(NameContains=RUN)["TrainingJobSummaries"]
    job = sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert job["VpcConfig"] == account.vpc.sagemaker
    sealed = (job["OutputDataConfig"]["KmsKeyId"], job["ResourceConfig"]["VolumeKmsKeyId"])
    assert sealed == (account.key, account.key)
    endpoint = sagemaker.describe_endpoint(EndpointName=answer["endpoint"])
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    assert (config["KmsKeyId"], model["VpcConfig"]) == (account.key, account.vpc.sagemaker)
    function = account.server.client("lambda").get_function_configuration(FunctionName=f"kennel-{RUN}-classify")
    assert function["VpcConfig"]["VpcId"] == account.vpc.vpc_id


def test_every_object_is_sealed_with_the_key(first: Finished, account: Account) -> None:
    s3 = account.server.client("s3")
    (bucket,) = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    found = {key: s3.head_object(Bucket=bucket, Key=key).get("SSEKMSKeyId") for key in keys}
    assert len(found) > 10 and set(found.values()) == {account.key}, found
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == account.key


def test_the_same_command_adopts_everything(first: Finished, account: Account, photos: Path) -> None:
    account.calls.seen.clear()
    again = account.run(photos)
    assert again.code == 0, again.err
    assert account.calls.mutating() == []
