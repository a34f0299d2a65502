"""IAM policies decide as AWS documents it; SimulatePrincipalPolicy answers from what IAM stores."""

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.policies import Request, evaluate, matches_pattern
from tests.conftest import RunningLocalAws

TRUST = json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"Service": "x"}, "Action": "sts:AssumeRole"}]})
ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/kennel-1"


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: str | list[str], resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def decide(*statements: dict[str, Any], action: str = "s3:GetObject", resource: str = "arn:b/k", **context: str) -> str:
    keys = {name.replace("_", ":", 1).lower(): [value] for name, value in context.items()}
    return evaluate({"p": document(*statements)}, Request(action, resource, keys)).effect


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
        ({"Null": {"aws:token": "false"}}, {}, "implicitDeny"),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::k*"}}, {"aws_SourceArn": "arn:aws:s3:::kennel"}, "allowed"),
    ],
)
def test_a_statement_counts_only_when_its_condition_holds(
    condition: dict[str, Any], context: dict[str, str], expected: str
) -> None:
    assert decide(allow("*", Condition=condition), **context) == expected


def test_only_star_and_question_mark_are_wildcards() -> None:
    assert matches_pattern("a[b].c", "a[b].c")
    assert not matches_pattern("a[b].c", "ab.c")
    assert not matches_pattern("a.c", "abc")


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
    decisions = {(r["EvalActionName"], r["EvalResourceName"]): r["EvalDecision"] for r in reply["EvaluationResults"]}
    assert decisions == {
        ("sagemaker:InvokeEndpoint", ENDPOINT): "allowed",
        ("sagemaker:InvokeEndpoint", "arn:aws:s3:::kept/x"): "implicitDeny",
        ("s3:PutObject", ENDPOINT): "allowed",
        ("s3:PutObject", "arn:aws:s3:::kept/x"): "explicitDeny",
    }
    assert reply["EvaluationResults"][0]["MatchedStatements"][0]["SourcePolicyId"] == "invoke"
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
    odd = document(allow("*", Condition={"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}))
    for parameters, code, text in (
        ({"PolicySourceArn": nobody}, "NoSuchEntity", "role/nobody cannot be found"),
        ({"PolicyInputList": [json.dumps(odd)]}, "InvalidInput", "condition operators DateLessThan"),
        ({"ResourcePolicy": "{}"}, "InvalidInput", "does not simulate ResourcePolicy"),
    ):
        with pytest.raises(ClientError, match=text) as caught:
            iam.simulate_principal_policy(**{"PolicySourceArn": role, "ActionNames": ["s3:GetObject"], **parameters})
        assert caught.value.response["Error"]["Code"] == code
