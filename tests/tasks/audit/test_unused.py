"""Roles, instance profiles and inline rights that nobody uses."""

import json
import shlex
from typing import Any

import pytest

from tasks.audit.account import Policy, Profile, Use
from tests.tasks.audit.accounts import arn, days_ago, found, identity, kinds, role
from tests.tasks.audit.planted import OWN, allow, document, service

OWN_USE = {"Condition": {"StringEquals": {"aws:SourceAccount": OWN}}}
TASKS = (service("ecs-tasks"),)
PROFILE = Profile("p", arn("instance-profile", "p"), ("r",))


@pytest.mark.parametrize(
    ("age", "used", "expected"),
    [
        (91, None, [("r", "role-unused")]),
        (400, 91, [("r", "role-unused")]),
        (89, None, []),
        (400, 89, []),
        (89, 88, []),
    ],
)
def test_a_role_is_unused_after_90_days_without_use(age: int, used: int | None, expected: Any) -> None:
    last = None if used is None else days_ago(used)
    assert kinds(role("r", trusts=TASKS, age=age, last_used=last)) == expected


def test_the_commands_delete_a_role_with_all_that_it_has() -> None:
    managed = Policy("m", arn("policy", "m"), document())
    policies = (Policy("inline", None, document()), managed)
    (finding,) = found(role("r", trusts=TASKS, age=91, policies=policies, profiles=("p",)))
    assert finding.evidence == "role r of 2026-08-29 was used never"
    assert finding.commands == (
        "aws iam remove-role-from-instance-profile --instance-profile-name=p --role-name=r",
        "aws iam delete-instance-profile --instance-profile-name=p",
        "aws iam delete-role-policy --role-name=r --policy-name=inline",
        f"aws iam detach-role-policy --role-name=r --policy-arn={managed.arn}",
        "aws iam delete-role --role-name=r",
    )


@pytest.mark.parametrize("name", ["lambda", "ec2"])
def test_a_role_whose_function_or_instance_is_gone_is_orphaned_at_once(name: str) -> None:
    assert kinds(role("r", trusts=(service(name),))) == [("r", "role-orphaned")]
    assert kinds(role("r", trusts=(service(name),), age=91)) == [("r", "role-orphaned")]


def test_a_role_of_sagemaker_is_orphaned_when_it_is_idle_as_well() -> None:
    trusts = (service("sagemaker", **OWN_USE),)
    assert kinds(role("r", trusts=trusts)) == []
    assert kinds(role("r", trusts=trusts, age=91, last_used=days_ago(3))) == []
    assert kinds(role("r", trusts=trusts, age=91)) == [("r", "role-orphaned")]
    job = Use("sagemaker", "TrainingJobName j", arn("role", "r"))
    assert kinds(role("r", trusts=trusts, age=91), uses=(job,)) == [("r", "role-unused")]


def test_a_role_in_use_is_no_orphan() -> None:
    function = Use("lambda", "f", arn("role", "r"))
    assert kinds(role("r", trusts=(service("lambda"),)), uses=(function,)) == []
    instance = Use("ec2", "i-1", PROFILE.arn)
    assert kinds(role("r", trusts=(service("ec2"),)), uses=(instance,), profiles=(PROFILE,)) == []


def test_nor_is_one_of_a_service_that_could_not_be_looked_at_or_of_another_region_or_of_two_services() -> None:
    assert kinds(role("r", trusts=(service("lambda"),)), unseen=frozenset({"lambda"})) == []
    left = role("r", trusts=(service("lambda"),), last_used=days_ago(2), last_used_region="eu-west-1")
    assert kinds(left) == []
    assert kinds(left, regions=("us-east-1", "eu-west-1")) == [("r", "role-orphaned")]
    assert kinds(role("r", trusts=(service("lambda"), service("ecs-tasks")))) == []


def test_an_instance_profile_is_unused_unless_its_role_is_orphaned_already() -> None:
    assert kinds(role("r", trusts=(service("ec2"), *TASKS)), profiles=(PROFILE,)) == [("p", "profile-unused")]
    assert kinds(role("r", trusts=(service("ec2"),)), profiles=(PROFILE,)) == [("r", "role-orphaned")]
    assert kinds(profiles=(PROFILE,), unseen=frozenset({"ec2"})) == []


def test_inline_rights_that_their_owner_did_not_use_are_found() -> None:
    owner = role(
        "r", allow(["s3:GetBucketTagging", "sqs:SendMessage"]), allow("ec2:RunInstances"), trusts=TASKS, age=99
    )
    accessed = {owner.arn: {"s3": days_ago(1), "sqs": None, "ec2": days_ago(91)}}
    (finding,) = (each for each in found(owner, last_accessed=accessed) if each.id == "inline-unused")
    assert finding.evidence == "role r did not use ec2, sqs of its policy inline"
    words = shlex.split(finding.commands[0])
    assert words[2] == "put-role-policy"
    kept = json.loads(words[-1].removeprefix("--policy-document="))
    assert kept == document({**allow("x"), "Action": ["s3:GetBucketTagging"]})


def test_an_inline_policy_of_which_nothing_was_used_is_deleted() -> None:
    owner = identity("user", "ann", allow("sqs:SendMessage"), age=99)
    (finding,) = found(owner, last_accessed={owner.arn: {"sqs": None}})
    assert finding.commands == ("aws iam delete-user-policy --user-name=ann --policy-name=inline",)


def test_rights_of_a_young_owner_or_of_services_without_a_record_are_not_judged() -> None:
    young, old = (identity("user", name, allow("sqs:SendMessage"), age=age) for name, age in (("y", 89), ("o", 99)))
    assert kinds(young, old, last_accessed={young.arn: {"sqs": None}, old.arn: {"s3": None}}) == []
