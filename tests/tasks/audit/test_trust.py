"""Who may assume a role, with the exceptions that users of Prowler had to report."""

import json
import shlex
from typing import Any

import pytest

from tasks.audit.checks.trust import SENDS_ITS_SOURCE
from tests.tasks.audit.accounts import found, kinds, role
from tests.tasks.audit.planted import FOREIGN, OWN, Raw, document, github, service, trust

OWN_USE = {"StringEquals": {"aws:SourceAccount": OWN}}


def kind_of(*trusts: Raw, **more: Any) -> list[str]:
    idle_of_its_own = {"unseen": frozenset({"lambda", "ec2", "sagemaker"})}
    return [kind for _, kind in kinds(role("r", trusts=trusts, **more), **idle_of_its_own)]


def mended(*trusts: Raw) -> Any:
    """Return the trust policy that the finding's command sets."""
    (finding,) = found(role("r", trusts=trusts))
    (command,) = finding.commands
    assert command.startswith("aws iam update-assume-role-policy --role-name=r ")
    return document_in(command)


def document_in(command: str) -> Any:
    return json.loads(shlex.split(command)[-1].removeprefix("--policy-document="))


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": [OWN, "*"]}, {"AWS": "arn:aws:iam::*:root"}])
def test_anybody_is_found_however_it_is_written(principal: Any) -> None:
    assert kind_of(trust(principal)) == ["trust-anyone"]


@pytest.mark.parametrize(
    "conditions",
    [
        {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{OWN}:role/*"}},
        {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}, "Bool": {"aws:MultiFactorAuthPresent": "true"}},
    ],
)
def test_a_condition_that_names_callers_makes_anybody_somebody(conditions: Raw) -> None:
    assert kind_of(trust("*", Condition=conditions)) == []


@pytest.mark.parametrize(
    "conditions",
    [
        {"StringLike": {"aws:PrincipalArn": "*"}},
        {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/admin"}},
        {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        {"StringNotEquals": {"aws:PrincipalAccount": FOREIGN}},
        {"StringEquals": {"sts:ExternalId": "4711"}},
        {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
        {"Bool": {"aws:SecureTransport": "true"}},
    ],
)
def test_a_condition_that_strangers_fulfil_does_not(conditions: Raw) -> None:
    assert kind_of(trust("*", Condition=conditions)) == ["trust-anyone"]


def test_a_deny_of_outsiders_limits_and_a_deny_of_something_else_does_not() -> None:
    outsiders = {"StringNotEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}
    assert kind_of(trust("*"), {**trust("*", Condition=outsiders), "Effect": "Deny"}) == []
    assert kind_of(trust("*"), {**trust({"AWS": FOREIGN}), "Effect": "Deny"}) == ["trust-anyone"]
    others = {**trust("*", Condition=outsiders), "Effect": "Deny", "Action": "sts:TagSession"}
    assert kind_of(trust("*"), others) == ["trust-anyone"]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "sts.amazonaws.com"}, ["trust-anyone"]),
        ({"sub": "*"}, ["trust-anyone"]),
        ({"sub": "repo:kennel/kennel:ref:refs/heads/main"}, []),
    ],
)
def test_an_issuer_that_many_share_needs_a_subject(claims: dict[str, str], expected: list[str]) -> None:
    assert kind_of(github(claims)) == expected


def test_an_issuer_of_ones_own_and_saml_need_none() -> None:
    for provider in ("oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/1", "saml-provider/company"):
        assert kind_of(trust({"Federated": f"arn:aws:iam::{OWN}:{provider}"})) == []


@pytest.mark.parametrize("principal", [FOREIGN, f"arn:aws:iam::{FOREIGN}:root", f"arn:aws:iam::{FOREIGN}:role/x"])
def test_another_account_needs_an_external_id_or_an_organization(principal: str) -> None:
    assert kind_of(trust({"AWS": principal})) == ["trust-foreign"]
    assert kind_of(trust({"AWS": principal}, Condition={"StringEquals": {"sts:ExternalId": "4711"}})) == []
    assert kind_of(trust({"AWS": principal}, Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})) == []


@pytest.mark.parametrize("principal", [OWN, f"arn:aws:iam::{OWN}:root", f"arn:aws:iam::{OWN}:user/ann", "AROADELETED"])
def test_ones_own_account_and_a_deleted_role_are_no_strangers(principal: str) -> None:
    assert kind_of(trust({"AWS": principal})) == []


@pytest.mark.parametrize("name", sorted(each.removesuffix(".amazonaws.com") for each in SENDS_ITS_SOURCE))
def test_a_service_that_names_its_source_has_to_be_held_to_it(name: str) -> None:
    assert kind_of(service(name)) == ["confused-deputy"]
    assert kind_of(service(name, Condition=OWN_USE)) == []
    source = {"ArnLike": {"aws:SourceArn": f"arn:aws:{name}:us-east-1:{OWN}:*"}}
    assert kind_of(service(name, Condition=source)) == []
    assert kind_of(service(name, Condition={"StringEquals": {"aws:SourceOrgID": "o-1"}})) == []
    assert kind_of(service(name, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:*:*:*:*"}})) == ["confused-deputy"]


@pytest.mark.parametrize("name", ["ec2", "lambda", "ecs-tasks", "glue", "backup", "cloudtrail", "elastictranscoder"])
def test_a_service_that_does_not_name_its_source_cannot(name: str) -> None:
    assert kind_of(service(name)) == []


def test_the_command_puts_the_own_account_in_the_place_of_strangers_and_keeps_the_rest() -> None:
    kept = service("ecs-tasks")
    own = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": [f"arn:aws:iam::{OWN}:root"]}}
    assert mended(kept, trust({"AWS": FOREIGN})) == document(kept, own)
    assert mended(github({"aud": "sts.amazonaws.com"})) == document(own)


def test_the_command_leaves_a_statements_actions_as_they_are() -> None:
    tags = trust("*", Action="sts:TagSession")
    held = trust("*", Condition={"StringEquals": {"sts:RoleSessionName": "x"}})
    own = {"AWS": [f"arn:aws:iam::{OWN}:root"]}
    assert mended(held, tags) == document({**held, "Principal": own}, {**tags, "Principal": own})
    both = {**github({"aud": "sts.amazonaws.com"}), "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]}
    assert mended(both)["Statement"][0]["Action"] == ["sts:AssumeRole", "sts:TagSession"]


def test_the_command_adds_the_source_to_the_conditions_that_are_there() -> None:
    conditions = {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}
    statement = service("sagemaker", Condition=conditions)
    expected = {"StringEquals": {"aws:RequestedRegion": "us-east-1", "aws:SourceAccount": OWN}}
    (finding,) = found(role("r", trusts=(statement,)), unseen=frozenset({"sagemaker"}))
    assert document_in(finding.commands[0]) == document({**statement, "Condition": expected})


def test_what_a_mended_trust_policy_allows_is_no_finding_any_more() -> None:
    for statement in (trust("*"), trust({"AWS": FOREIGN}), github({"aud": "sts.amazonaws.com"})):
        assert kind_of(*mended(statement)["Statement"]) == []
