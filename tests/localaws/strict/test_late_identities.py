"""Roles, policies, instance profiles and the service-linked role of a strict server are seen some seconds late."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.clock import Clock
from localaws.permissions.propagation import Propagation
from localaws.strictness import STRICT
from tests.localaws.ec2.ec2_rooms import IMAGE_PARAMETER
from tests.localaws.roles import make_role, trust
from tests.localaws.sagemaker.endpoints.endpoint_models import IMAGE, Workbench, workbench
from tests.localaws.sagemaker.training.training_rooms import make_room
from tests.localaws.scaled_server import ScaledServer
from tests.localaws.strict.conftest import wait_for_roles
from tests.polling import wait_until

pytestmark = pytest.mark.strict


@pytest.fixture(scope="module")
def bench(slow: ScaledServer) -> Iterator[Workbench]:
    with workbench(slow.localaws) as made:
        wait_for_roles(slow)
        yield made


def refusal(call: Callable[..., Any], **request: Any) -> tuple[str, str] | None:
    """Return the code and the message of a call's error, None if it succeeds."""
    try:
        call(**request)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    return None


def test_sagemaker_cannot_assume_a_role_that_was_made_just_now(slow: ScaledServer) -> None:
    iam, create = slow.client("iam"), slow.client("sagemaker").create_model

    def refused_at_once() -> tuple[dict[str, Any], tuple[str, str]] | None:
        """Return a request and its refusal; None where the machine was so busy that the role was seen by then."""
        role = make_role(iam, f"late-{secrets.token_hex(4)}", "sagemaker")
        model = {"ModelName": f"m-{secrets.token_hex(4)}", "PrimaryContainer": {"Image": IMAGE}}
        refused = refusal(create, **model, ExecutionRoleArn=role)
        return None if refused is None else ({**model, "ExecutionRoleArn": role}, refused)

    request, refused = wait_until(refused_at_once, "a refusal")

    assert refused[0] == "ValidationException"
    assert refused[1].startswith(f"Could not assume role {request['ExecutionRoleArn']}.")
    wait_until(lambda: "Could not assume" not in str(refusal(create, **request)), "the role to be seen")


def test_ec2_does_not_know_a_new_profile_and_then_not_its_role(slow: ScaledServer) -> None:
    iam, launch = slow.client("iam"), slow.client("ec2").run_instances
    image = slow.client("ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]

    def unknown_at_once() -> tuple[dict[str, Any], tuple[str, str]] | None:
        """Return a request and its refusal; None where the machine was so busy that the profile was seen by then."""
        name = f"late-{secrets.token_hex(4)}"
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("ec2"))
        iam.create_instance_profile(InstanceProfileName=name)
        request = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "IamInstanceProfile": {"Name": name}, "DryRun": True}
        unknown = refusal(launch, **request)
        is_unknown = unknown is not None and "Invalid IAM Instance Profile name" in unknown[1]
        return (request, unknown) if unknown is not None and is_unknown else None

    request, unknown = wait_until(unknown_at_once, "an unknown profile")
    name = request["IamInstanceProfile"]["Name"]
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    wait_until(lambda: refusal(launch, **request) != unknown, "the profile to be seen")
    wait_until(lambda: "DryRunOperation" in str(refusal(launch, **request)), "its role to be seen")


def test_a_session_of_a_role_gets_a_new_policy_some_seconds_later(slow: ScaledServer) -> None:
    iam, name = slow.client("iam"), f"late-{secrets.token_hex(4)}"
    room = make_room(slow.localaws)
    wait_for_roles(slow)
    script = """
        import boto3, time
        from botocore.exceptions import ClientError
        iam = boto3.client("iam")
        while True:
            try:
                iam.list_users()
                print("allowed", flush=True)
                time.sleep(0.05)
            except ClientError as error:
                print(error.response["Error"]["Code"], flush=True)
                break
    """
    job = room.start(script)
    wait_until(lambda: "allowed" in room.log(job), "the job to ask")
    denied = {"Effect": "Deny", "Action": "iam:ListUsers", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    before = slow.now()
    iam.put_role_policy(RoleName=room.role.rpartition("/")[2], PolicyName=name, PolicyDocument=document)

    room.wait_for_line(job, "AccessDenied")

    assert slow.now() - before >= STRICT.identities.least


def test_the_first_scalable_target_of_an_account_finds_no_service_linked_role_yet(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model())
    register = bench.localaws.client("application-autoscaling").register_scalable_target
    request = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "MinCapacity": 1,
        "MaxCapacity": 2,
    }

    refused = refusal(register, **request)

    assert refused is not None and refused[0] == "ValidationException"
    assert refused[1].startswith("Unable to assume IAM role: arn:aws:iam::123456789012:role/aws-service-role/")
    wait_until(lambda: refusal(register, **request) is None, "the service-linked role to be seen")


def test_delays_are_the_same_in_each_run() -> None:
    now = [1000.0]

    def seen_after() -> list[bool]:
        now[0] = 1000.0
        propagation = Propagation(Clock(wall=lambda: now[0]), STRICT)
        for name in "abcdefgh":
            propagation.made(name)
        now[0] += 10.0
        return [propagation.is_seen(name) for name in "abcdefgh"]

    first = seen_after()
    assert first == seen_after()
    assert True in first and False in first
