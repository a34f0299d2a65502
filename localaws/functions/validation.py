"""Checks the parameters of CreateFunction and of the updates; what localaws does not emulate is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localaws.errors import AwsError
from localaws.violations import one_violation

RUNTIMES = ("python3.11", "python3.12", "python3.13")
ENVIRONMENT_LIMIT_BYTES = 4096

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Reserved environment variables"
RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
_CARRIED_OUT = frozenset(
    {
        "FunctionName",
        "Runtime",
        "Role",
        "Handler",
        "Code",
        "Description",
        "Timeout",
        "MemorySize",
        "Publish",
        "Environment",
        "VpcConfig",
        "Tags",
        "RevisionId",
        "ZipFile",
        "S3Bucket",
        "S3Key",
        "DryRun",
    }
)
# Members that are accepted with the value that asks for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "PackageType": ("Zip",),
    "Architectures": (["x86_64"],),
    "Layers": ([],),
    "EphemeralStorage": ({"Size": 512},),
    "TracingConfig": ({"Mode": "PassThrough"},),
    "SnapStart": ({"ApplyOn": "None"},),
    "DeadLetterConfig": ({}, {"TargetArn": ""}),
    "LoggingConfig": ({}, {"LogFormat": "Text"}),
    "KMSKeyArn": ("",),
    "FileSystemConfigs": ([],),
}


def check_request(request: Mapping[str, Any]) -> None:
    """Refuse members that localaws does not carry out, and values that Lambda refuses.

    Raises: AwsError InvalidParameterValueException or ValidationException, naming the member.
    """
    for member, value in request.items():
        if member not in _CARRIED_OUT and value not in _NEUTRAL.get(member, ()):
            raise unsupported(f"{member}={json.dumps(value)}")
    _check_runtime(request.get("Runtime"))
    check_range(request.get("Timeout"), "timeout", 1, 900)
    check_range(request.get("MemorySize"), "memorySize", 128, 10_240)
    _check_environment((request.get("Environment") or {}).get("Variables") or {})


def check_code(code: Mapping[str, Any]) -> None:
    """Refuse code that is neither a zip nor an S3 object.

    Raises: AwsError InvalidParameterValueException.
    """
    for member in ("ImageUri", "S3ObjectVersion", "SourceKMSKeyArn"):
        if code.get(member):
            raise unsupported(f"{member}={json.dumps(code[member])}")
    if bool(code.get("ZipFile")) == bool(code.get("S3Bucket") and code.get("S3Key")):
        raise invalid("Please provide a source for function code: either ZipFile, or S3Bucket and S3Key.")


def check_required(request: Mapping[str, Any]) -> None:
    """Refuse a new function without runtime or handler.

    Raises: AwsError InvalidParameterValueException.
    """
    if not (request.get("Runtime") and request.get("Handler")):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")


def invalid(message: str) -> AwsError:
    """Return Lambda's error for a value it does not accept."""
    return AwsError("InvalidParameterValueException", message)


def unsupported(what: str) -> AwsError:
    """Return the error for what AWS has and localaws has not."""
    return invalid(f"localaws does not emulate {what} of Lambda functions.")


def _check_runtime(runtime: str | None) -> None:
    if runtime is not None and runtime not in RUNTIMES:
        raise invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: localaws runs {', '.join(RUNTIMES)} only."
        )


def check_range(value: int | None, member: str, low: int, high: int | None) -> None:
    """Refuse a number outside its range; None is no number, and no upper end.

    Raises: AwsError ValidationException, naming the member.
    """
    is_high = value is not None and high is not None and value > high
    if value is not None and (value < low or is_high):
        bound = f"less than or equal to {high}" if is_high else f"greater than or equal to {low}"
        raise AwsError("ValidationException", one_violation(value, member, f"Member must have value {bound}"))


def _check_environment(variables: Mapping[str, str]) -> None:
    prefix = (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
    )
    if reserved := sorted(RESERVED_VARIABLES & variables.keys()):
        raise invalid(
            f"{prefix}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if sum(len(key.encode()) + len(value.encode()) for key, value in variables.items()) > ENVIRONMENT_LIMIT_BYTES:
        raise invalid(f"{prefix}exceeded the 4KB limit.")
