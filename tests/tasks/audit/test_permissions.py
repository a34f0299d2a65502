"""What an identity is found to be able to do: by what its policies grant, with groups, Deny, conditions, boundary."""

from typing import Any

import pytest

from tasks.audit.account import Policy
from tasks.audit.risky_actions import ESCALATIONS
from tests.tasks.audit.accounts import found, identity, kinds, role
from tests.tasks.audit.planted import OWN, Raw, allow, deny, document

PASSED = {"StringEquals": {"iam:PassedToService": ["ecs-tasks.amazonaws.com", "lambda.amazonaws.com"]}}
EVERYTHING_BUT_IAM = {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*"], "Resource": "*"}


def finding_of(*statements: Raw, **more: Any) -> list[str]:
    return [kind for _, kind in kinds(role("r", *statements, **more))]


@pytest.mark.parametrize("action", ["*", "*:*", ["s3:Get*", "*"]])
def test_every_action_on_everything_is_one_finding_however_it_is_written(action: Any) -> None:
    assert finding_of(allow(action)) == ["full-access"]


def test_everything_but_iam_is_every_service_and_no_full_access() -> None:
    assert finding_of(EVERYTHING_BUT_IAM) == ["privilege-escalation", "service-full-access"]
    (service,) = (each for each in found(role("r", EVERYTHING_BUT_IAM)) if each.id == "service-full-access")
    assert service.evidence == "role r may do every service but those that its policies leave out (by inline)"


@pytest.mark.parametrize(
    "statement",
    [
        allow("s3:*", "arn:aws:s3:::photos/*"),
        allow("s3:*", "arn:aws:s3:::photos"),
        allow("s3:GetObject", Condition={"StringEquals": {"aws:ResourceTag/team": "dogs"}}),
        allow("s3:GetObjectTagging"),
        allow(["s3:List*", "ec2:Describe*", "iam:Get*"]),
        allow("iam:PassRole"),
        allow(["lambda:CreateFunction", "lambda:InvokeFunction"]),
        allow("iam:CreateAccessKey", f"arn:aws:iam::{OWN}:user/ci"),
        allow("iam:PutRolePolicy", f"arn:aws:iam::{OWN}:role/kennel-*"),
    ],
)
def test_what_is_narrow_is_no_finding(statement: Raw) -> None:
    assert finding_of(statement) == []


@pytest.mark.parametrize(
    "resource", ["*", "arn:aws:s3:::*", "arn:aws:s3:::*/*", "arn:aws:*", "arn:*", ["arn:aws:s3:::a/*", "*"]]
)
def test_a_resource_may_be_broad_without_being_one_star(resource: Any) -> None:
    assert finding_of(allow("s3:GetObject", resource)) == ["data-exfiltration"]


def test_all_resources_but_some_are_broad() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::secret/*"}
    assert finding_of(statement) == ["data-exfiltration"]


@pytest.mark.parametrize(
    "key", ["aws:SecureTransport", "aws:RequestedRegion", "aws:MultiFactorAuthPresent", "aws:SourceIp"]
)
def test_a_condition_on_how_or_from_where_changes_nothing(key: str) -> None:
    assert finding_of(allow("s3:GetObject", Condition={"StringEquals": {key: "x"}})) == ["data-exfiltration"]


@pytest.mark.parametrize("way", ESCALATIONS, ids=lambda way: "+".join(way))
def test_each_way_to_more_permissions_is_found_and_not_without_its_last_action(way: tuple[str, ...]) -> None:
    assert "privilege-escalation" in finding_of(allow(list(way)))
    assert finding_of(allow(list(way[:-1]))) == []


def test_there_are_46_ways_and_none_contains_another() -> None:
    assert len(ESCALATIONS) == len(set(ESCALATIONS)) == 46
    assert [(a, b) for a in ESCALATIONS for b in ESCALATIONS if {*a} < {*b}] == []


def test_passing_a_role_counts_for_the_services_that_the_condition_names() -> None:
    limited = allow("iam:PassRole", Condition=PASSED)
    assert finding_of(limited, allow(["lambda:CreateFunction", "lambda:InvokeFunction"])) == ["privilege-escalation"]
    assert finding_of(limited, allow("ec2:RunInstances")) == []


def test_a_passed_role_needs_no_more_than_one_function_that_may_be_made() -> None:
    one = allow(["lambda:CreateFunction", "lambda:InvokeFunction"], f"arn:aws:lambda:us-east-1:{OWN}:function:one")
    assert finding_of(allow("iam:PassRole"), one) == ["privilege-escalation"]


@pytest.mark.parametrize("taken", [deny("*"), deny("s3:Get*"), deny("s3:*", "arn:aws:s3:::*")])
def test_a_deny_on_everything_takes_a_grant_back(taken: Raw) -> None:
    assert finding_of(allow("s3:GetObject"), taken) == []


@pytest.mark.parametrize(
    "kept",
    [
        deny("s3:Put*"),
        deny("s3:GetObject", "arn:aws:s3:::secret/*"),
        deny("s3:GetObject", Condition={"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}),
        {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"},
    ],
)
def test_a_deny_of_something_else_or_with_a_condition_does_not(kept: Raw) -> None:
    assert finding_of(allow("s3:GetObject"), kept) == ["data-exfiltration"]


def test_a_boundary_limits_what_policies_grant() -> None:
    def bounded(*statements: Raw) -> list[str]:
        return finding_of(allow("*"), boundary=document(*statements))

    assert bounded(allow("s3:GetObject", "arn:aws:s3:::photos/*")) == []
    assert bounded(allow("s3:*")) == ["service-full-access"]
    assert bounded(allow("*"), deny("*")) == []
    assert bounded(allow("*")) == ["full-access"]


def test_a_user_has_what_its_groups_grant_but_not_their_findings_again() -> None:
    group = identity("group", "readers", allow("s3:GetObject"))
    assert kinds(group, identity("user", "ann", groups=("readers",))) == [("readers", "data-exfiltration")]
    more = identity("user", "eve", allow("ssm:GetParameter"), groups=("readers",))
    (own,) = (each for each in found(group, more) if each.name == "eve")
    assert own.evidence == "user eve may do ssm:GetParameter (by inline)"
    passing = identity("group", "passing", allow("iam:PassRole"))
    making = identity("user", "bob", allow("ec2:RunInstances"), groups=("passing",))
    assert kinds(passing, making) == [("bob", "privilege-escalation")]


def test_a_group_without_members_grants_nobody_anything() -> None:
    assert kinds(identity("group", "empty", allow("*"))) == []


def test_the_commands_take_the_policies_away_from_those_who_have_them() -> None:
    managed = Policy("Make", f"arn:aws:iam::{OWN}:policy/Make", document(allow("ec2:RunInstances")))
    group = identity("group", "passing", allow("iam:PassRole"))
    (finding,) = found(group, identity("user", "bob", groups=("passing",), policies=(managed,)))
    assert finding.evidence == "user bob may do iam:PassRole + ec2:RunInstances (by inline, Make)"
    assert finding.commands == (
        "aws iam delete-group-policy --group-name=passing --policy-name=inline",
        f"aws iam detach-user-policy --user-name=bob --policy-arn=arn:aws:iam::{OWN}:policy/Make",
    )
