"""What Lambda writes about an invocation: START, END and REPORT lines in CloudWatch Logs, and its metrics."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from localaws.core import Core
from localaws.functions.concurrency import Lease
from localaws.functions.deployment import Deployment, Execution

NAMESPACE = "AWS/Lambda"
TAIL_BYTES = 4096


def log_lines(deployment: Deployment, request_id: str, execution: Execution) -> list[str]:
    """Return the invocation's log events, in Lambda's text format."""
    lines = [f"START RequestId: {request_id} Version: {deployment.version}", *execution.output]
    if execution.init_ms is not None:
        lines.insert(0, f"INIT_START Runtime Version: {deployment.runtime}.localaws\tRuntime Version ARN: none")
    if execution.outcome.status == "timeout":
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines.append(f"{now} {request_id} Task timed out after {deployment.timeout_seconds:.2f} seconds")
    return [*lines, f"END RequestId: {request_id}", _report(deployment, request_id, execution)]


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


class FunctionMetrics:
    """Counts what happened, as AWS/Lambda: by function, by function and qualifier, and over all functions."""

    def __init__(self, core: Core) -> None:
        self._metrics = core.metrics

    def throttled(self, name: str, qualifier: str | None) -> None:
        """A call was refused for want of concurrency; it is not an invocation."""
        self._put(name, qualifier, "Throttles", 1.0, "Count")

    def finished(self, name: str, qualifier: str | None, execution: Execution, lease: Lease) -> None:
        """An invocation ran to its end, whatever it was."""
        self._put(name, qualifier, "Invocations", 1.0, "Count")
        self._put(name, qualifier, "Errors", 0.0 if execution.outcome.status == "success" else 1.0, "Count")
        self._put(name, qualifier, "Duration", execution.duration_ms, "Milliseconds")
        self._put(name, qualifier, "Throttles", 0.0, "Count")
        self._put(name, qualifier, "ConcurrentExecutions", lease.function_executions, "Count", of_account=False)
        self._metrics.put(NAMESPACE, "ConcurrentExecutions", lease.account_executions, {}, unit="Count")

    def dropped(self, name: str, qualifier: str | None) -> None:
        """An asynchronous event was given up after its retries."""
        self._put(name, qualifier, "AsyncEventsDropped", 1.0, "Count")

    def _put(
        self, name: str, qualifier: str | None, metric: str, value: float, unit: str, *, of_account: bool = True
    ) -> None:
        dimensions: list[dict[str, str]] = [{"FunctionName": name}]
        if of_account:
            dimensions.append({})
        if qualifier is not None:
            dimensions.append({"FunctionName": name, "Resource": f"{name}:{qualifier}"})
        for each in dimensions:
            self._metrics.put(NAMESPACE, metric, value, each, unit=unit)
