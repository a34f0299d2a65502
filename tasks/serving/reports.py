"""Reads the REPORT lines that Lambda writes to a function's log, one for each invocation.

`parse_report` is pure. Durations are Lambda's, without start-up; "Init Duration" is the start-up of a cold start.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.run.numbers import DECIMAL, WHOLE
from tasks.run.waiting import REAL_TIME, Patience, Waiting, look

_DURATION = re.compile(rf"\tDuration: ({DECIMAL}) ms")
_INIT = re.compile(rf"\tInit Duration: ({DECIMAL}) ms")
_MEMORY = re.compile(rf"\tMemory Size: ({WHOLE}) MB")
_USED = re.compile(rf"\tMax Memory Used: ({WHOLE}) MB")
_ARRIVE_SECONDS = 60.0
_QUIET_SECONDS = 3.0


@dataclass(frozen=True)
class InvocationReport:
    """One REPORT line. `init_ms` is None for a warm invocation."""

    duration_ms: float
    init_ms: float | None
    memory_mb: int
    used_mb: int


def parse_report(line: str) -> InvocationReport | None:
    """Parse a REPORT line; return None for any other line."""
    duration, memory, used = (pattern.search(line) for pattern in (_DURATION, _MEMORY, _USED))
    if not line.startswith("REPORT RequestId") or not (duration and memory and used):
        return None
    init = _INIT.search(line)
    return InvocationReport(float(duration[1]), float(init[1]) if init else None, int(memory[1]), int(used[1]))


def read_reports(
    aws: Aws,
    function_name: str,
    *,
    since: float,
    expected: int,
    waiting: Waiting = REAL_TIME,
) -> list[InvocationReport]:
    """Return the REPORT lines since a Unix time, once there are `expected` ones or no more arrive.

    CloudWatch Logs delivers them some seconds late. Lines that are missing after a minute are given up, and earlier
    when none came for longer than a line may be late.

    Raises:
        AwsFailed: CloudWatch Logs refused.
    """
    patience, changed = Patience(f"log of {function_name}", aws.target, waiting), 0.0
    found: list[InvocationReport] = []
    while True:
        now, _ = look(lambda: (_reports(aws, function_name, since, '"REPORT RequestId"'), "read"))
        spent = patience.spent_seconds
        if now is not None and len(now) > len(found):
            found, changed = now, spent
        is_quiet = bool(found) and spent - changed > max(_QUIET_SECONDS, aws.target.log_delay_seconds)
        if len(found) >= expected or is_quiet or spent > _ARRIVE_SECONDS:
            return found
        patience.pause(f"{len(found)} of {expected} REPORT lines", 0.5)


def cold_starts(aws: Aws, function_name: str, *, since: float) -> list[InvocationReport]:
    """Return the reports of cold starts since a Unix time.

    Raises:
        AwsFailed: CloudWatch Logs refused.
    """
    found = _reports(aws, function_name, since, '"Init Duration"')
    return [each for each in found if each.init_ms is not None]


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that at least `share` (0 < share ≤ 1) of the values do not exceed.

    Raises:
        ValueError: there are no values.
    """
    ordered: Sequence[float] = sorted(values)
    if not ordered:
        raise ValueError("no values have no percentile")
    return ordered[math.ceil(share * len(ordered)) - 1]


def _reports(aws: Aws, function_name: str, since: float, pattern: str) -> list[InvocationReport]:
    group = f"/aws/lambda/{function_name}"
    with aws_boundary(f"logs {group}"):
        pages = aws.client("logs").get_paginator("filter_log_events")
        asked = {"logGroupName": group, "startTime": int(since * 1000), "filterPattern": pattern}
        lines = [event["message"] for page in pages.paginate(**asked) for event in page["events"]]
    return [report for line in lines if (report := parse_report(line)) is not None]
