"""Reserved and provisioned concurrency that Lambda refuses, with AWS's words, and what an account has left."""

from tests.localaws.functions.functions_kit import Functions, error_of
from tests.localaws.functions.provisioned_kit import make_alias, provision


def test_what_cannot_be_provisioned_is_refused_with_awss_words(functions: Functions) -> None:
    name = make_alias(functions)
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"

    def refusal(qualifier: str, executions: int = 1) -> tuple[str, str, int]:
        return error_of(
            functions.aws.put_provisioned_concurrency_config,
            FunctionName=name,
            Qualifier=qualifier,
            ProvisionedConcurrentExecutions=executions,
        )

    assert refusal("$LATEST") == (
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        400,
    )
    assert refusal("none") == ("ResourceNotFoundException", f"Cannot find alias arn: {arn}:none", 404)
    assert refusal("9") == ("ResourceNotFoundException", f"Function not found: {arn}:9", 404)
    free = functions.aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert refusal("live", free + 1)[1] == (
        f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}]."
    )
    assert refusal("live", free - 99)[1] == (
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100]."
    )
    functions.aws.create_alias(FunctionName=name, Name="new", FunctionVersion="$LATEST")
    assert refusal("new")[0] == "InvalidParameterValueException"
    for operation in ("get", "delete"):
        call = getattr(functions.aws, f"{operation}_provisioned_concurrency_config")
        assert error_of(call, FunctionName=name, Qualifier="$LATEST") == (
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
            400,
        )
    assert error_of(functions.aws.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1") == (
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
        404,
    )
    functions.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")


def test_a_version_has_one_configuration_its_own_or_an_aliass(functions: Functions) -> None:
    name = make_alias(functions)
    provision(functions, name, 1, "1")
    call = functions.aws.put_provisioned_concurrency_config
    assert error_of(call, FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1) == (
        "ResourceConflictException",
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        409,
    )
    functions.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    provision(functions, name, 1)
    assert error_of(call, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1) == (
        "ResourceConflictException",
        "Version is pointed by a Provisioned Concurrency alias",
        409,
    )


def test_what_is_provisioned_adds_up_to_no_more_than_is_reserved(functions: Functions) -> None:
    name = make_alias(functions)
    functions.aws.update_function_configuration(FunctionName=name, Timeout=9)
    functions.aws.publish_version(FunctionName=name)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    provision(functions, name, 2)
    too_many = {"FunctionName": name, "Qualifier": "2", "ProvisionedConcurrentExecutions": 2}
    assert error_of(functions.aws.put_provisioned_concurrency_config, **too_many) == (
        "InvalidParameterValueException",
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        400,
    )
    provision(functions, name, 1, "2")
    assert error_of(functions.aws.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=2) == (
        "InvalidParameterValueException",
        " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3].",
        400,
    )
    listed = functions.aws.list_provisioned_concurrency_configs(FunctionName=name, MaxItems=1)
    rest = functions.aws.list_provisioned_concurrency_configs(FunctionName=name, Marker=listed["NextMarker"])
    items = listed["ProvisionedConcurrencyConfigs"] + rest["ProvisionedConcurrencyConfigs"]
    shown = {each["FunctionArn"].split(":")[-1]: each["RequestedProvisionedConcurrentExecutions"] for each in items}
    assert shown == {"2": 1, "live": 2}


def test_account_settings_tell_what_is_left(functions: Functions) -> None:
    def left() -> int:
        limits = functions.aws.get_account_settings()["AccountLimit"]
        assert limits["ConcurrentExecutions"] == 1000
        return int(limits["UnreservedConcurrentExecutions"])

    name, before = make_alias(functions), left()
    provision(functions, name, 2)
    assert left() == before - 2
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    assert left() == before - 5
    assert functions.aws.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    functions.aws.delete_function_concurrency(FunctionName=name)
    assert left() == before - 2
    assert "ReservedConcurrentExecutions" not in functions.aws.get_function_concurrency(FunctionName=name)
    functions.aws.delete_function(FunctionName=name)
    assert left() == before


def test_reserving_is_of_whole_functions_only(functions: Functions) -> None:
    name = make_alias(functions)
    code, message, _ = error_of(
        functions.aws.put_function_concurrency, FunctionName=f"{name}:live", ReservedConcurrentExecutions=1
    )
    assert code == "InvalidParameterValueException"
    assert message.startswith("This operation is permitted on Lambda functions only.")
