"""Lambda's answers when a function fails, not the service; word for word where AWS documents them."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import Literal

from localaws.functions.deployment import Outcome


def timed_out(request_id: str, seconds: float) -> Outcome:
    """The handler did not return within the function's timeout."""
    return _fault(
        "Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds", "timeout"
    )


def exited(request_id: str, returncode: int | None) -> Outcome:
    """The runtime process ended while it had an invocation. `returncode` as of subprocess: negative for a signal."""
    if returncode == 0 or returncode is None:
        reason = "Runtime exited without providing a reason"
    elif returncode < 0:
        name = signal.Signals(-returncode).name.removeprefix("SIG").lower()
        reason = f"Runtime exited with error: signal: {'killed' if name == 'kill' else name}"
    else:
        reason = f"Runtime exited with error: exit status {returncode}"
    return _fault("Runtime.ExitError", f"RequestId: {request_id} Error: {reason}")


def out_of_memory(request_id: str) -> Outcome:
    """The environment used more than the function's MemorySize and was killed."""
    outcome = exited(request_id, -signal.SIGKILL)
    return replace(outcome, fault="Runtime.OutOfMemory")


def response_too_large(size_limit_bytes: int) -> Outcome:
    """The handler's answer is over the synchronous payload limit."""
    message = f"Response payload size exceeded maximum allowed payload size ({size_limit_bytes} bytes)."
    return _fault("Function.ResponseSizeTooLarge", message)


def _fault(error_type: str, message: str, status: Literal["error", "timeout"] = "error") -> Outcome:
    payload = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
    return Outcome(payload, status, fault=error_type)
