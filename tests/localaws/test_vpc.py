"""VPCs of one's own: what jobs, models, functions and instances name has to exist, and is described as it was named."""

import secrets
from typing import Any

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.ec2.ec2_rooms import Ec2Room, refused
from tests.localaws.functions.functions_kit import Functions, error_of, zipped
from tests.localaws.roles import make_role, remove_role, trust
from tests.localaws.sagemaker.endpoints.endpoint_models import IMAGE
from tests.localaws.sagemaker.training.training_rooms import Room, make_room
from tests.vpcs import Vpc, make_vpc

NO_SUBNET, NO_GROUP = "subnet-0123456789abcdef0", "sg-0123456789abcdef0"


@pytest.fixture(scope="module")
def vpc(localaws: RunningLocalAws) -> Vpc:
    return make_vpc(localaws.client("ec2"), "a", "b")


@pytest.fixture(scope="module")
def other(localaws: RunningLocalAws) -> Vpc:
    return make_vpc(localaws.client("ec2"))


@pytest.fixture(scope="module")
def room(localaws: RunningLocalAws) -> Room:
    return make_room(localaws)


def weak_role(localaws: RunningLocalAws, service: str) -> str:
    """Make a role that may do nothing."""
    iam, name = localaws.client("iam"), f"weak-{secrets.token_hex(4)}"
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(service))["Role"]["Arn"]
    return arn


def misnamed(vpc: Vpc, other: Vpc, subnets: str) -> list[tuple[dict[str, Any], str]]:
    """Return what names something that does not exist, or of two VPCs, and what EC2 says of it."""
    groups, own = "SecurityGroupIds", list(vpc.subnets)
    return [
        ({subnets: [NO_SUBNET], groups: [vpc.group]}, f"The subnet ID '{NO_SUBNET}' does not exist"),
        ({subnets: own, groups: [NO_GROUP]}, f"The security group '{NO_GROUP}' does not exist"),
        ({subnets: own, groups: [other.group]}, "Security Groups are required to be in the same VPC."),
    ]


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_training_job_runs_in_a_vpc_and_is_described_with_it(room: Room, vpc: Vpc) -> None:
    described = room.end_of(room.start("print()", VpcConfig=vpc.sagemaker))
    assert (described["TrainingJobStatus"], described["VpcConfig"]) == ("Completed", vpc.sagemaker)


def test_a_training_job_in_no_vpc_is_refused(room: Room, vpc: Vpc, other: Vpc) -> None:
    for config, text in misnamed(vpc, other, "Subnets"):
        with refused("ValidationException", text):
            room.start("print()", VpcConfig=config)


def test_a_role_that_may_make_no_interface_fails_the_job(localaws: RunningLocalAws, room: Room, vpc: Vpc) -> None:
    iam, name = localaws.client("iam"), f"no-interface-{secrets.token_hex(4)}"
    role = make_role(iam, name, "sagemaker")
    deny = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"ec2:CreateNetworkInterface","Resource":"*"}}'
    iam.put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=deny)
    described = room.end_of(room.start("print()", RoleArn=role, VpcConfig=vpc.sagemaker))
    assert described["FailureReason"].startswith("InternalServerError: We encountered an internal error.")
    iam.delete_role_policy(RoleName=name, PolicyName="deny")
    remove_role(iam, name)


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_is_described_with_its_vpc(localaws: RunningLocalAws, vpc: Vpc, other: Vpc) -> None:
    sagemaker, name = localaws.client("sagemaker"), f"vpc-{secrets.token_hex(4)}"
    role = make_role(localaws.client("iam"), name, "sagemaker")
    request = {"ModelName": name, "PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": role}
    for config, text in misnamed(vpc, other, "Subnets"):
        with refused("ValidationException", text):
            sagemaker.create_model(**request, VpcConfig=config)
    sagemaker.create_model(**request, VpcConfig=vpc.sagemaker)
    assert sagemaker.describe_model(ModelName=name)["VpcConfig"] == vpc.sagemaker


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_function_joins_and_leaves_a_vpc(localaws: RunningLocalAws, vpc: Vpc) -> None:
    functions = Functions.of(localaws)
    name = functions.make(VpcConfig=vpc.function)
    found = functions.aws.get_function_configuration(FunctionName=name)["VpcConfig"]
    assert {key: found[key] for key in (*vpc.function, "VpcId")} == {**vpc.function, "VpcId": vpc.vpc_id}
    assert functions.invoke(name)["StatusCode"] == 200
    functions.aws.update_function_configuration(FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    assert not functions.aws.get_function_configuration(FunctionName=name).get("VpcConfig", {}).get("SubnetIds")


def test_a_function_in_no_vpc_is_refused_in_lambdas_words(localaws: RunningLocalAws, vpc: Vpc, other: Vpc) -> None:
    functions, code = Functions.of(localaws), {"ZipFile": zipped("x")}
    for config, text in misnamed(vpc, other, "SubnetIds"):
        kind, message, _ = error_of(functions.create, name="f-vpc", Code=code, VpcConfig=config)
        assert kind == "InvalidParameterValueException" and text in message
    half = {"SubnetIds": list(vpc.subnets), "SecurityGroupIds": []}
    kind, message, _ = error_of(functions.create, name="f-vpc", Code=code, VpcConfig=half)
    assert message == "SubnetIds and SecurityIds must coexist or be both empty list."


def test_a_role_that_may_make_no_interface_fails_the_function(localaws: RunningLocalAws, vpc: Vpc) -> None:
    functions, role = Functions.of(localaws), weak_role(localaws, "lambda")
    wanted = {"Code": {"ZipFile": zipped("x")}, "Role": role, "VpcConfig": vpc.function}
    kind, message, _ = error_of(functions.create, name="f-vpc", **wanted)
    assert kind == "InvalidParameterValueException"
    assert message == "The provided execution role does not have permissions to call CreateNetworkInterface on EC2"


# --- instances --------------------------------------------------------------------------------------------------------


def test_an_instance_is_launched_into_a_subnet_with_groups_of_its_vpc(
    localaws: RunningLocalAws, vpc: Vpc, other: Vpc
) -> None:
    with Ec2Room(localaws) as ec2_room:
        wanted = {"ImageId": ec2_room.image, "InstanceType": "c7i.large", "MinCount": 1, "MaxCount": 1, "DryRun": True}
        with refused("DryRunOperation"):
            ec2_room.ec2.run_instances(**wanted, SubnetId=vpc.subnets[1], SecurityGroupIds=[vpc.group])
        with refused("InvalidParameter", "belong to different networks"):
            ec2_room.ec2.run_instances(**wanted, SubnetId=vpc.subnets[1], SecurityGroupIds=[other.group])
        with refused("InvalidSubnetID.NotFound"):
            ec2_room.ec2.run_instances(**wanted, SubnetId=NO_SUBNET)
