"""IAM policies decide as AWS documents it; SimulatePrincipalPolicy answers from what IAM stores."""

import json
import re
import uuid
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.policies.context import Context
from localaws.policies.decision import (
    ALLOWED,
    ANYONE,
    EXPLICIT_DENY,
    IMPLICIT_DENY,
    Identity,
    Kind,
    Principal,
    Request,
)
from localaws.policies.decision import decide as decided
from localaws.policies.documents import Policy, policy, policy_of
from localaws.policies.patterns import matches_pattern
from tests.conftest import RunningLocalAws
from tests.localaws.roles import trust

TRUST = trust("lambda")
ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/kennel-1"


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: str | list[str], resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def decide(*statements: dict[str, Any], action: str = "s3:GetObject", resource: str = "arn:b/k", **context: str) -> str:
    keys = {name.replace("_", ":", 1).lower(): [value] for name, value in context.items()}
    user = Principal("arn:aws:iam::123456789012:user/u", "123456789012")
    identity = Identity((policy_of("p", document(*statements)),))
    return decided(user, identity, Request(action, resource, Context(keys))).effect


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ((), "implicitDeny"),
        ((allow("s3:GetObject"),), "allowed"),
        ((allow("S3:getobject"),), "allowed"),
        ((allow("s3:Get*", "arn:b/*"),), "allowed"),
        ((allow("s3:Get?bject"),), "allowed"),
        ((allow("s3:PutObject"),), "implicitDeny"),
        ((allow("s3:*", "arn:other/*"),), "implicitDeny"),
        ((allow("*"), deny("s3:*")), "explicitDeny"),
        ((deny("s3:*", "arn:other/*"), allow("*")), "allowed"),
        (({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},), "allowed"),
        (({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},), "implicitDeny"),
        (({"Effect": "Allow", "Action": "*", "NotResource": "arn:b/*"},), "implicitDeny"),
    ],
)
def test_a_deny_beats_an_allow_and_nothing_is_a_deny(statements: tuple[dict[str, Any], ...], expected: str) -> None:
    assert decide(*statements) == expected


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"aws:PrincipalTag": ["a", "b"]}}, {"aws_PrincipalTag": "b"}, "allowed"),
        ({"StringEquals": {"aws:PrincipalTag": "a"}}, {"aws_PrincipalTag": "b"}, "implicitDeny"),
        ({"StringEquals": {"aws:PrincipalTag": "a"}}, {}, "implicitDeny"),
        ({"StringEqualsIfExists": {"aws:PrincipalTag": "a"}}, {}, "allowed"),
        ({"StringNotEquals": {"aws:PrincipalTag": ["a", "b"]}}, {"aws_PrincipalTag": "b"}, "implicitDeny"),
        ({"StringNotEquals": {"aws:PrincipalTag": "a"}}, {}, "allowed"),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}, {}, "implicitDeny"),
        ({"ForAllValues:StringNotEquals": {"aws:TagKeys": "a"}}, {}, "allowed"),
        ({"StringLike": {"aws:x": "ken*"}}, {"aws_x": "kennel"}, "allowed"),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws_SecureTransport": "true"}, "implicitDeny"),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws_SourceIp": "10.2.3.4"}, "allowed"),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws_SourceIp": "10.2.3.4"}, "implicitDeny"),
        ({"NumericLessThan": {"aws:age": "10"}}, {"aws_age": "9.5"}, "allowed"),
        ({"Null": {"aws:token": "true"}}, {}, "allowed"),
        ({"Null": {"aws:token": "True"}}, {}, "allowed"),
        ({"Null": {"aws:token": "false"}}, {}, "implicitDeny"),
        ({"Null": {"aws:token": "True"}}, {}, "allowed"),
        ({"Null": {"aws:token": True}}, {}, "allowed"),
        ({"Null": {"aws:token": "False"}}, {"aws_token": "x"}, "allowed"),
        ({"Null": {"aws:token": "neither"}}, {"aws_token": "x"}, "implicitDeny"),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::k*"}}, {"aws_SourceArn": "arn:aws:s3:::kennel"}, "allowed"),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:*:k*"}}, {"aws_SourceArn": "arn:aws:s3:::kennel"}, "implicitDeny"),
        ({"ArnNotLike": {"aws:SourceArn": "arn:aws:s3:::k*"}}, {"aws_SourceArn": "arn:aws:s3:::x"}, "allowed"),
        ({"NumericLessThan": {"aws:age": "10"}}, {"aws_age": "old"}, "implicitDeny"),
        ({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}, {"aws_CurrentTime": "2029-12-31"}, "allowed"),
        ({"DateGreaterThan": {"aws:CurrentTime": "2030-01-01"}}, {"aws_CurrentTime": "1000000000"}, "implicitDeny"),
        ({"StringEqualsIgnoreCase": {"AWS:X": "A"}}, {"aws_x": "a"}, "allowed"),
        ({"BinaryEquals": {"aws:b": "QQ=="}}, {"aws_b": "QQ=="}, "allowed"),
    ],
)
def test_a_statement_counts_only_when_its_condition_holds(
    condition: dict[str, Any], context: dict[str, str], expected: str
) -> None:
    assert decide(allow("*", Condition=condition), **context) == expected


USER = Principal("arn:aws:iam::123456789012:user/u", "123456789012")
SESSION = Principal("arn:aws:sts::123456789012:assumed-role/r/s", "123456789012", "arn:aws:iam::123456789012:role/r")
ROOT = Principal("arn:aws:iam::123456789012:root", "123456789012", is_root=True)
ALL = policy_of("all", document(allow("*")))
NONE = policy_of("none", document())
DENIES = policy_of("denies", document(deny("*")))


def resource_policy(principal: Any, effect: str = "Allow", element: str = "Principal") -> Policy:
    return policy_of("resource", document({"Effect": effect, element: principal, "Action": "*", "Resource": "*"}))


@pytest.mark.parametrize(
    ("who", "identity", "resource", "expected"),
    [
        (USER, Identity(), None, (IMPLICIT_DENY, Kind.IDENTITY)),
        (ROOT, Identity(), None, (ALLOWED, None)),
        (ROOT, Identity(), resource_policy("*", "Deny"), (EXPLICIT_DENY, Kind.RESOURCE)),
        (USER, Identity((ALL,), boundary=NONE), None, (IMPLICIT_DENY, Kind.BOUNDARY)),
        (USER, Identity((ALL,), boundary=ALL), None, (ALLOWED, None)),
        (USER, Identity((ALL,), boundary=DENIES), None, (EXPLICIT_DENY, Kind.BOUNDARY)),
        (USER, Identity((NONE,), boundary=ALL), None, (IMPLICIT_DENY, Kind.IDENTITY)),
        (SESSION, Identity((ALL,), session=(NONE,)), None, (IMPLICIT_DENY, Kind.SESSION)),
        (SESSION, Identity((ALL,), session=(NONE, ALL)), None, (ALLOWED, None)),
        (SESSION, Identity((ALL,), session=(DENIES, ALL)), None, (EXPLICIT_DENY, Kind.SESSION)),
        (USER, Identity(), resource_policy({"AWS": USER.arn}), (ALLOWED, None)),
        (USER, Identity(boundary=NONE), resource_policy({"AWS": USER.arn}), (ALLOWED, None)),
        (USER, Identity(), resource_policy("*"), (ALLOWED, None)),
        (USER, Identity(), resource_policy({"AWS": "123456789012"}), (IMPLICIT_DENY, Kind.IDENTITY)),
        (USER, Identity((ALL,)), resource_policy({"AWS": ROOT.arn}), (ALLOWED, None)),
        (USER, Identity((DENIES,)), resource_policy("*"), (EXPLICIT_DENY, Kind.IDENTITY)),
        (USER, Identity((ALL,)), resource_policy({"AWS": SESSION.arn}, "Deny"), (ALLOWED, None)),
        (SESSION, Identity(), resource_policy({"AWS": SESSION.role_arn}), (ALLOWED, None)),
        (SESSION, Identity(session=(NONE,)), resource_policy({"AWS": SESSION.role_arn}), (IMPLICIT_DENY, Kind.SESSION)),
        (SESSION, Identity(session=(NONE,)), resource_policy({"AWS": SESSION.arn}), (ALLOWED, None)),
        (ANYONE, Identity(), None, (IMPLICIT_DENY, Kind.RESOURCE)),
        (ANYONE, Identity(), resource_policy("*"), (ALLOWED, None)),
        (ANYONE, Identity(), resource_policy({"AWS": ROOT.arn}), (IMPLICIT_DENY, Kind.RESOURCE)),
        (
            Principal(service="s3.amazonaws.com"),
            Identity(),
            resource_policy({"Service": "s3.amazonaws.com"}),
            (ALLOWED, None),
        ),
    ],
)
def test_each_kind_of_policy_counts_as_aws_says(
    who: Principal, identity: Identity, resource: Policy | None, expected: tuple[str, Kind | None]
) -> None:
    decision = decided(who, identity, Request("s3:GetObject", "arn:aws:s3:::b/k"), resource)
    assert (decision.effect, decision.kind) == expected


@pytest.mark.parametrize(
    ("who", "names", "is_denied"),
    [
        (USER, [USER.arn, ROOT.arn], False),
        (USER, [USER.arn, "123456789012"], False),
        (USER, [USER.arn], True),
        (USER, [ROOT.arn], True),
        (USER, [SESSION.role_arn, ROOT.arn], True),
        (ROOT, [ROOT.arn], False),
        (ROOT, [USER.arn], True),
        (SESSION, [SESSION.arn, SESSION.role_arn, ROOT.arn], False),
        (SESSION, [SESSION.role_arn, ROOT.arn], True),
        (SESSION, [SESSION.arn, SESSION.role_arn], True),
    ],
)
def test_a_denying_not_principal_leaves_out_whom_it_names_with_account_and_role(
    who: Principal, names: list[str], is_denied: bool
) -> None:
    policy = resource_policy({"AWS": names}, "Deny", "NotPrincipal")
    asked = Request("s3:GetObject", "arn:aws:s3:::b/k")
    assert decided(who, Identity((ALL,)), asked, policy).is_allowed is not is_denied
    assert not decided(who, Identity((ALL,), boundary=ALL), asked, policy).is_allowed, "it denies all with a boundary"


@pytest.mark.parametrize(
    ("identity", "resource", "expected"),
    [
        (Identity((ALL,)), None, (IMPLICIT_DENY, Kind.RESOURCE)),
        (Identity(), resource_policy({"AWS": USER.arn}), (IMPLICIT_DENY, Kind.IDENTITY)),
        (Identity((ALL,)), resource_policy({"AWS": USER.arn}), (ALLOWED, None)),
        (Identity((ALL,)), resource_policy({"AWS": "123456789012"}), (ALLOWED, None)),
    ],
)
def test_across_accounts_both_sides_have_to_allow(
    identity: Identity, resource: Policy | None, expected: tuple[str, Kind | None]
) -> None:
    decision = decided(USER, identity, Request("s3:GetObject", "arn:aws:s3:::b/k", owner_id="999999999999"), resource)
    assert (decision.effect, decision.kind) == expected


def test_a_role_is_assumed_only_if_its_trust_policy_says_so() -> None:
    request = Request("sts:AssumeRole", "arn:aws:iam::123456789012:role/r")
    for own, allows in ((None, False), (resource_policy({"AWS": USER.arn}), True), (resource_policy("*"), True)):
        assert decided(USER, Identity((ALL,)), request, own, is_trust=True).is_allowed is allows


def test_variables_are_the_request_s_values_and_never_wildcards() -> None:
    own = allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}/*")
    for name, resource, expected in (
        ("ann", "arn:aws:s3:::b/ann/1", "allowed"),
        ("ann", "arn:aws:s3:::b/bob/1", "implicitDeny"),
        ("*", "arn:aws:s3:::b/bob/1", "implicitDeny"),
        ("*", "arn:aws:s3:::b/*/1", "allowed"),
        ("\0*", "arn:aws:s3:::b/bob/1", "implicitDeny"),
        ("\0*", "arn:aws:s3:::b/\0*/1", "allowed"),
    ):
        assert decide(own, resource=resource, aws_username=name) == expected
    assert decide(own, resource="arn:aws:s3:::b//1") == "implicitDeny"
    assert decide(allow("*", "b/${aws:x, 'all'}"), resource="b/all") == "allowed"
    assert decide(allow("*", "b/${*}"), resource="b/*") == "allowed"
    assert decide(allow("*", "b/${*}"), resource="b/x") == "implicitDeny"


def test_a_document_of_the_first_version_has_no_variables() -> None:
    old = policy_of("old", {"Version": "2008-10-17", "Statement": allow("*", "b/${aws:username}")})
    request = Request("s3:GetObject", "b/ann", Context({"aws:username": ["ann"]}))
    assert not decided(USER, Identity((old,)), request).is_allowed
    assert decided(USER, Identity((old,)), Request("s3:GetObject", "b/${aws:username}")).is_allowed


@pytest.mark.parametrize("document_text", ["[]", "3", '{"Statement": [3]}', '{"Statement": [{}]}'])
def test_what_is_no_policy_is_a_value_error(document_text: str) -> None:
    with pytest.raises(ValueError, match="policy"):
        policy("p", document_text)


def test_only_star_and_question_mark_are_wildcards() -> None:
    assert matches_pattern("a[b].c", "a[b].c")
    assert not matches_pattern("a[b].c", "ab.c")
    assert not matches_pattern("a.c", "abc")


@pytest.mark.timeout(30)
def test_wildcards_match_as_tried_in_every_way_and_many_of_them_take_no_time() -> None:
    for pattern, value in product(words("ab*?", 4), words("ab", 5)):
        tried = re.fullmatch(pattern.replace("?", ".").replace("*", ".*"), value)
        assert matches_pattern(pattern, value) == (tried is not None), (pattern, value)
    assert not matches_pattern("*a" * 40 + "b", "a" * 900)


def words(letters: str, longest: int) -> list[str]:
    return ["".join(each) for length in range(longest + 1) for each in product(letters, repeat=length)]


@pytest.fixture
def role(localaws: RunningLocalAws) -> str:
    name = f"simulated-{uuid.uuid4().hex[:8]}"
    made = localaws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    return str(made["Role"]["Arn"])


def test_the_simulation_answers_for_each_action_and_resource(localaws: RunningLocalAws, role: str) -> None:
    iam = localaws.client("iam")
    name = role.rpartition("/")[2]
    inline = document(allow("sagemaker:InvokeEndpoint", ENDPOINT))
    iam.put_role_policy(RoleName=name, PolicyName="invoke", PolicyDocument=json.dumps(inline))
    attached = document(allow(["s3:GetObject", "s3:PutObject"]), deny("s3:PutObject", "arn:aws:s3:::kept/*"))
    made = iam.create_policy(PolicyName=f"{name}-data", PolicyDocument=json.dumps(attached))
    iam.attach_role_policy(RoleName=name, PolicyArn=made["Policy"]["Arn"])
    reply = iam.simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=["sagemaker:InvokeEndpoint", "s3:PutObject"],
        ResourceArns=[ENDPOINT, "arn:aws:s3:::kept/x"],
    )
    invoke, put = reply["EvaluationResults"]
    assert (invoke["EvalDecision"], put["EvalDecision"]) == ("implicitDeny", "explicitDeny"), "the most restrictive"
    assert put["EvalResourceName"].startswith("arn:${Partition}:s3:"), "a template, not one of the resources"
    assert {
        (result["EvalActionName"], each["EvalResourceName"]): each["EvalResourceDecision"]
        for result in (invoke, put)
        for each in result["ResourceSpecificResults"]
    } == {
        ("sagemaker:InvokeEndpoint", ENDPOINT): "allowed",
        ("sagemaker:InvokeEndpoint", "arn:aws:s3:::kept/x"): "implicitDeny",
        ("s3:PutObject", ENDPOINT): "allowed",
        ("s3:PutObject", "arn:aws:s3:::kept/x"): "explicitDeny",
    }
    assert invoke["ResourceSpecificResults"][0]["MatchedStatements"][0]["SourcePolicyId"] == "invoke"
    assert [each["SourcePolicyId"] for each in put["MatchedStatements"]] == [f"{name}-data"]
    assert reply["IsTruncated"] is False


def test_the_simulation_pages_and_takes_context(localaws: RunningLocalAws, role: str) -> None:
    iam = localaws.client("iam")
    extra = document(
        allow("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}})
    )
    entry = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string"}
    parameters: dict[str, Any] = {
        "PolicySourceArn": role,
        "ActionNames": ["iam:PassRole", "iam:GetRole", "iam:ListRoles"],
        "PolicyInputList": [json.dumps(extra)],
        "ContextEntries": [{**entry, "ContextKeyValues": ["sagemaker.amazonaws.com"]}],
    }
    paginator = iam.get_paginator("simulate_principal_policy")
    pages = list(paginator.paginate(**parameters, PaginationConfig={"PageSize": 2}))
    decisions = [result["EvalDecision"] for page in pages for result in page["EvaluationResults"]]
    assert (len(pages), decisions) == (2, ["allowed", "implicitDeny", "implicitDeny"])
    del parameters["ContextEntries"]
    (first, *_) = iam.simulate_principal_policy(**parameters)["EvaluationResults"]
    assert (first["EvalDecision"], first["MissingContextValues"]) == ("implicitDeny", ["iam:passedtoservice"])


def test_the_simulation_refuses_what_it_cannot_answer(localaws: RunningLocalAws, role: str) -> None:
    iam = localaws.client("iam")
    nobody = "arn:aws:iam::123456789012:role/nobody"
    odd = document(allow("*", Condition={"StringResembles": {"aws:CurrentTime": "2030-01-01"}}))
    for parameters, code, text in (
        ({"PolicySourceArn": nobody}, "NoSuchEntity", "role/nobody cannot be found"),
        ({"PolicyInputList": [json.dumps(odd)]}, "InvalidInput", "no condition operator StringResembles"),
        ({"ResourcePolicy": "{"}, "InvalidInput", "A policy of the request is none"),
    ):
        with pytest.raises(ClientError, match=text) as caught:
            iam.simulate_principal_policy(**{"PolicySourceArn": role, "ActionNames": ["s3:GetObject"], **parameters})
        assert caught.value.response["Error"]["Code"] == code
