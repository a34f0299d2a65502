"""Null in a JSON request: a member that is null is not given, and a list or map with null in it is refused."""

import json
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest

from localaws.inputs.types import without_nulls
from tests.conftest import RunningLocalAws
from tests.keys import signed
from tests.localaws.auth.wire import Answer, send
from tests.localaws.callers import ACCOUNT

FUNCTION = {"FunctionName": "f", "Runtime": "python3.12", "Role": f"arn:aws:iam::{ACCOUNT}:role/r", "Handler": "h.h"}
BUDGET = {"BudgetName": "b", "TimeUnit": "MONTHLY", "BudgetType": "COST"}
SCALED = {"ServiceNamespace": "sagemaker"}
PRODUCTS = "AWSPriceListService.GetProducts"
WITH_NULL: list[tuple[str, str, dict[str, Any]]] = [
    ("kms", "TrentService.CreateKey", {"Tags": [None]}),
    ("kms", "TrentService.Encrypt", {"KeyId": "k", "Plaintext": "eA==", "EncryptionContext": {"a": None}}),
    (
        "budgets",
        "AWSBudgetServiceGateway.CreateBudget",
        {"AccountId": ACCOUNT, "Budget": BUDGET, "ResourceTags": [None]},
    ),
    (
        "budgets",
        "AWSBudgetServiceGateway.CreateBudget",
        {"AccountId": ACCOUNT, "Budget": {**BUDGET, "CostFilters": {"Service": [None]}}},
    ),
    ("pricing", PRODUCTS, {"ServiceCode": "AmazonEC2", "Filters": [None]}),
    ("sagemaker", "SageMaker.AddTags", {"ResourceArn": "arn:x", "Tags": [None]}),
    ("ssm", "AmazonSSM.GetParameters", {"Names": ["n", None]}),
    ("logs", "Logs_20140328.CreateLogGroup", {"logGroupName": "g", "tags": {"a": None}}),
    ("application-autoscaling", "AnyScaleFrontendService.DescribeScalableTargets", {**SCALED, "ResourceIds": [None]}),
    ("servicequotas", "ServiceQuotasV20190624.TagResource", {"ResourceARN": "arn:x", "Tags": [None]}),
    ("tagging", "ResourceGroupsTaggingAPI_20170126.GetResources", {"TagFilters": [None]}),
    ("monitoring", "GraniteServiceVersion20100801.DescribeAlarms", {"AlarmNames": [None]}),
    ("lambda", "", {**FUNCTION, "Code": {"ZipFile": "eA=="}, "Architectures": [None]}),
]


def asked(localaws: RunningLocalAws, service: str, target: str, document: dict[str, Any]) -> Answer:
    """Send a document; without a target, to the path of CreateFunction."""
    path = "/" if target else "/2015-03-31/functions"
    headers = {"Content-Type": "application/x-amz-json-1.1", **({"X-Amz-Target": target} if target else {})}
    body = json.dumps(document)
    request = AWSRequest("POST", f"{localaws.url}{path}", headers, body)
    return send(localaws.url, "POST", path, signed(request, service), body.encode())


@pytest.mark.parametrize(("service", "target", "document"), WITH_NULL, ids=[f"{a}-{b}" for a, b, _ in WITH_NULL])
def test_null_in_a_list_or_a_map_is_refused(
    localaws: RunningLocalAws, service: str, target: str, document: dict[str, Any]
) -> None:
    answer = asked(localaws, service, target, document)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "SerializationException"), answer.body
    assert b"Null value found where" in answer.body


@pytest.mark.parametrize(
    ("service", "target", "document"),
    [
        ("kms", "TrentService.CreateKey", {"Tags": None, "Policy": None, "Description": None}),
        ("pricing", PRODUCTS, {"ServiceCode": "AmazonEC2", "Filters": None, "MaxResults": None}),
        ("logs", "Logs_20140328.DescribeLogGroups", {"limit": None}),
        ("ssm", "AmazonSSM.GetParametersByPath", {"Path": "/nothing", "MaxResults": None, "ParameterFilters": None}),
    ],
)
def test_a_member_that_is_null_is_not_given(
    localaws: RunningLocalAws, service: str, target: str, document: dict[str, Any]
) -> None:
    assert asked(localaws, service, target, document).status == 200


def test_what_is_no_json_stays_as_it_is() -> None:
    assert without_nulls(b'{"a":[{"b":null,"c":1}],"d":"null"}') == b'{"a": [{"c": 1}], "d": "null"}'
    for body in (b"", b"Action=null", b"null}", b'\xff "null"'):
        assert without_nulls(body) == body
