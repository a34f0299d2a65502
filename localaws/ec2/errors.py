"""The errors that EC2 answers with, and those for what localaws does not emulate."""

from collections.abc import Collection, Mapping
from typing import Any

from localaws.errors import AwsError


def invalid(message: str) -> AwsError:
    """Return EC2's error for a value that it does not accept."""
    return AwsError("InvalidParameterValue", message)


def unsupported(what: str, operation: str) -> AwsError:
    """Return the error for what EC2 has and localaws has not; `what` names the parameter, with its value if need be."""
    return AwsError("UnsupportedOperation", f"localaws does not emulate {what} of {operation}.")


def wrong_state(instance_id: str, action: str) -> AwsError:
    """Return the error for an action that the instance's state does not allow; `action` as in "stopped"."""
    return AwsError(
        "IncorrectInstanceState", f"The instance '{instance_id}' is not in a state from which it can be {action}."
    )


def dry_run() -> AwsError:
    """Return the answer to a request that would have been carried out but for its DryRun."""
    return AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


def refuse_others(
    parameters: Mapping[str, Any], carried_out: Collection[str], operation: str, *, inside: str = ""
) -> None:
    """Refuse parameters that localaws would have to ignore. `inside`: the parameter whose members these are.

    Raises: AwsError UnsupportedOperation, naming the first of them with its value.
    """
    for name, value in parameters.items():
        if name not in carried_out and value not in (None, [], {}, ""):
            raise unsupported(f"{inside}.{name}={value!r}" if inside else f"{name}={value!r}", operation)


def not_permitted(instance_id: str, action: str, attribute: str) -> AwsError:
    """Return the error for an instance that is protected against an action by one of its attributes."""
    return AwsError(
        "OperationNotPermitted",
        f"The instance '{instance_id}' may not be {action}. Modify its '{attribute}' instance attribute and try again.",
    )
