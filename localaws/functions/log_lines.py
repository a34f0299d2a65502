"""The lines that Lambda writes to CloudWatch Logs for an invocation or an init: INIT_START, START, END and REPORT."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from localaws.functions.deployment import Deployment, Execution

TAIL_BYTES = 4096


def of_invocation(deployment: Deployment, request_id: str, execution: Execution) -> list[str]:
    """Return the invocation's log events, in Lambda's text format."""
    lines = [f"START RequestId: {request_id} Version: {deployment.version}", *execution.output]
    if execution.init_ms is not None:
        lines.insert(0, _init_start(deployment))
    if execution.outcome.status == "timeout":
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines.append(f"{now} {request_id} Task timed out after {deployment.timeout_seconds:.2f} seconds")
    return [*lines, f"END RequestId: {request_id}", _report(deployment, request_id, execution)]


def of_init(deployment: Deployment, output: list[str], init_ms: float, error_type: str | None) -> list[str]:
    """Return the log events of an init that no invocation waited for; `error_type` None: it succeeded."""
    lines = [_init_start(deployment), *output]
    if error_type is not None:
        fields = [f"INIT_REPORT Init Duration: {init_ms:.2f} ms", "Phase: init", "Status: error"]
        lines.append("\t".join([*fields, f"Error Type: {error_type}"]) + "\t")
    return lines


def _init_start(deployment: Deployment) -> str:
    return f"INIT_START Runtime Version: {deployment.runtime}.localaws\tRuntime Version ARN: none"


def _report(deployment: Deployment, request_id: str, execution: Execution) -> str:
    """Billed is the duration with the init, rounded up to a millisecond, as AWS bills since August 2025."""
    billed_ms = math.ceil(execution.duration_ms + (execution.init_ms or 0.0))
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {execution.duration_ms:.2f} ms",
        f"Billed Duration: {billed_ms} ms",
        f"Memory Size: {deployment.memory_mb} MB",
        f"Max Memory Used: {execution.peak_memory_mb} MB",
    ]
    if execution.init_ms is not None:
        fields.append(f"Init Duration: {execution.init_ms:.2f} ms")
    if execution.outcome.fault is not None:
        fields.append(f"Status: {execution.outcome.status}")
    if execution.outcome.status == "error" and execution.outcome.fault is not None:
        fields.append(f"Error Type: {execution.outcome.fault}")
    return "\t".join(fields) + "\t"


def tail(lines: list[str]) -> bytes:
    """Return the last 4 kB of the log, for X-Amz-Log-Result."""
    return ("\n".join(lines) + "\n").encode()[-TAIL_BYTES:]
