"""Tests of function URLs' configurations, through boto3."""

import re
from typing import Any

import pytest

from tests.localaws.functions.functions_kit import Functions, error_of
from tests.localaws.functions.url_kit import Url, open_url

CORS = {"AllowOrigins": ["https://app.example"], "AllowMethods": ["POST"], "MaxAge": 60}


def test_a_url_is_made_read_changed_listed_and_deleted(functions: Functions) -> None:
    name, aws = functions.make(), functions.aws
    made = aws.create_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors=CORS)
    assert re.fullmatch(r"http://[a-z0-9]{32}\.lambda-url\.us-east-1\.localhost:\d+/", made["FunctionUrl"])
    assert made["FunctionArn"].endswith(f":function:{name}")
    assert (made["AuthType"], made["Cors"], made["InvokeMode"]) == ("AWS_IAM", CORS, "BUFFERED")
    assert "LastModifiedTime" not in made
    got = aws.get_function_url_config(FunctionName=name)
    assert (got["FunctionUrl"], got["LastModifiedTime"]) == (made["FunctionUrl"], made["CreationTime"])
    changed = aws.update_function_url_config(FunctionName=name, AuthType="NONE", Cors={})
    assert (changed["AuthType"], changed.get("Cors"), changed["FunctionUrl"]) == ("NONE", None, made["FunctionUrl"])
    kept = aws.update_function_url_config(FunctionName=name, Cors=CORS)
    assert (kept["AuthType"], kept["Cors"]) == ("NONE", CORS)
    assert [each["AuthType"] for each in aws.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]] == [
        "NONE"
    ]
    aws.delete_function_url_config(FunctionName=name)
    code, message, status = error_of(aws.get_function_url_config, FunctionName=name)
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert message == "The resource you requested does not exist."
    assert Url(name, made["FunctionUrl"]).send().status == 404


def test_function_and_alias_have_a_url_each_and_an_aliass_goes_with_it(functions: Functions) -> None:
    name, aws = functions.make(), functions.aws
    version = aws.publish_version(FunctionName=name)["Version"]
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    of_function = aws.create_function_url_config(FunctionName=name, AuthType="NONE")
    of_alias = aws.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="AWS_IAM")
    assert of_alias["FunctionArn"].endswith(f":{name}:live")
    assert of_alias["FunctionUrl"] != of_function["FunctionUrl"]
    first = aws.list_function_url_configs(FunctionName=name, MaxItems=1)
    rest = aws.list_function_url_configs(FunctionName=name, Marker=first["NextMarker"])
    assert len(first["FunctionUrlConfigs"]) == len(rest["FunctionUrlConfigs"]) == 1
    aws.delete_alias(FunctionName=name, Name="live")
    (left,) = aws.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert left["FunctionUrl"] == of_function["FunctionUrl"]
    aws.delete_function(FunctionName=name)
    assert Url(name, of_function["FunctionUrl"]).send().status == 404


def test_a_second_url_a_version_and_what_does_not_exist_are_refused(functions: Functions) -> None:
    name, create = functions.make(), functions.aws.create_function_url_config
    functions.aws.publish_version(FunctionName=name)
    made = create(FunctionName=name, AuthType="NONE")
    code, message, status = error_of(create, FunctionName=name, AuthType="AWS_IAM")
    assert (code, status) == ("ResourceConflictException", 409)
    assert message == (
        f"Failed to create function url config for [functionArn = {made['FunctionArn']}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function"
    )
    assert error_of(create, FunctionName=name, Qualifier="1", AuthType="NONE")[0] in (
        "ValidationException",
        "ResourceNotFoundException",
    )
    for missing in ({"FunctionName": "none"}, {"FunctionName": name, "Qualifier": "none"}):
        assert error_of(create, AuthType="NONE", **missing) == (
            "ResourceNotFoundException",
            "Function does not exist",
            404,
        )


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM"}, "InvokeMode=RESPONSE_STREAM"),
        ({"AuthType": "NONE", "Cors": {"AllowMethods": ["FETCH"]}}, "FETCH"),
        ({"AuthType": "BASIC"}, "BASIC"),
        ({"AuthType": "NONE", "Cors": {"MaxAge": 86_401}}, "86401"),
    ],
)
def test_a_value_that_is_not_possible_is_refused_by_name(
    functions: Functions, config: dict[str, Any], named: str
) -> None:
    code, message, status = error_of(functions.aws.create_function_url_config, FunctionName=functions.make(), **config)
    assert (status, named in message) == (400, True), (code, message)


def test_permissions_have_the_conditions_of_function_urls(functions: Functions) -> None:
    name, add = functions.make(), functions.aws.add_permission
    open_url(functions, name)
    policy = functions.aws.get_policy(FunctionName=name)["Policy"]
    assert '"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}' in policy
    assert '"Bool": {"lambda:InvokedViaFunctionUrl": "true"}' in policy
    given = {"FunctionName": name, "StatementId": "x", "Principal": "*"}
    for wrong in (
        {"Action": "lambda:InvokeFunction", "FunctionUrlAuthType": "NONE"},
        {"Action": "lambda:InvokeFunctionUrl", "InvokedViaFunctionUrl": True},
    ):
        code, message, _ = error_of(add, **given, **wrong)
        assert code == "InvalidParameterValueException"
        assert "is only supported for" in message
    again = {**given, "StatementId": "url", "Action": "lambda:InvokeFunctionUrl"}
    assert error_of(add, **again)[::2] == ("ResourceConflictException", 409)
