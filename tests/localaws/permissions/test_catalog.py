"""Each operation of the services that are served has an action of IAM's, or is refused and listed here by name."""

import contextlib
from pathlib import Path

import pytest

from localaws.errors import AwsError
from localaws.front import SERVICES
from localaws.permissions import catalog
from localaws.permissions.operations import SERVED, operation_names
from localaws.permissions.questions import FREE, RENAMED, UnknownAction, questions_of
from localaws.permissions.s3_actions import ACTIONS, KNOWN, VERSIONED
from localaws.permissions.s3_bodies import MANY
from tests.localaws.permissions.sent import PLACE, bare

REFUSED = Path(__file__).with_name("refused_operations.txt").read_text().split()
BODIES = {
    MANY: b"<Delete><Object><Key>k</Key></Object></Delete>",
    "PutObjectTagging": b"<Tagging/>",
    "PutBucketReplication": b"<ReplicationConfiguration/>",
}
LARGEST_BYTES = 250_000


def action_of(service: str, operation: str) -> str:
    name = f"{SERVED[service].prefix}:{operation}"
    return ACTIONS.get(operation, "") if service == "s3" else RENAMED.get(name, name)


def test_the_services_are_those_that_are_served() -> None:
    assert {name: each.model for name, each in SERVED.items()} == {name: each.model for name, each in SERVICES.items()}


def test_every_operation_has_an_action_or_is_refused_by_name() -> None:
    every = [(service, name) for service in SERVED for name in operation_names(service)]
    unmapped = [each for each in every if catalog.find(action_of(*each)) is None]
    assert len(every) == 2123
    assert sorted({f"{SERVED[service].prefix}:{name}" for service, name in unmapped} - {f"s3:{MANY}"}) == REFUSED


@pytest.mark.parametrize("service", SERVED)
def test_no_operation_is_decided_by_no_question_but_what_anyone_may(service: str) -> None:
    without = []
    for name in operation_names(service):
        with contextlib.suppress(UnknownAction, AwsError):
            if not questions_of(bare(service, name, BODIES.get(name)), PLACE):
                without.append(f"{SERVED[service].prefix}:{name}")
    assert set(without) == {each for each in FREE if each.startswith(f"{SERVED[service].prefix}:")}


def test_every_name_of_s3s_is_an_operation_and_an_action() -> None:
    assert set(operation_names("s3")) >= KNOWN
    named = [*ACTIONS.values(), *(versioned(name) for name in VERSIONED)]
    assert [name for name in named if catalog.find(name) is None] == []


def versioned(name: str) -> str:
    return f"s3:{name.replace('Object', 'ObjectVersion')}"


def test_an_action_has_its_level_resources_keys_and_dependents() -> None:
    action = catalog.find("sagemaker:CreateTrainingJob")
    assert action is not None
    assert action.level == "Write"
    assert [each.kind for each in action.uses if each.is_required] == ["training-job"]
    assert set(action.dependents) >= {"iam:PassRole", "sagemaker:AddTags"}
    assert catalog.template("sagemaker", "endpoint").endswith(":endpoint/${EndpointName}")


def test_keys_belong_to_an_action_and_a_kind_of_resource() -> None:
    assert catalog.has_key("ec2:RunInstances", "instance", "ec2:instancetype")
    assert not catalog.has_key("ec2:RunInstances", "image", "ec2:instancetype")
    assert catalog.has_key("sagemaker:AddTags", "endpoint", "aws:requesttag/team")


def test_services_of_the_operators_policy_are_there_too() -> None:
    names = ("servicequotas:GetServiceQuota", "pricing:GetProducts", "kms:Decrypt", "ecr:GetAuthorizationToken")
    assert [name for name in names if catalog.find(name) is None] == []


def test_the_data_is_small() -> None:
    assert catalog.FILE.stat().st_size < LARGEST_BYTES
