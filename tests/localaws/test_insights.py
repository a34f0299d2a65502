"""Queries of CloudWatch Logs Insights are executed, and what is not executed is refused by name."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws

LINES = [
    "hello 0",
    "hello 1",
    *(json.dumps({"level": "ERROR", "ms": number * 10, "at": {"step": number}}) for number in range(4)),
    "REPORT RequestId: abc\tDuration: 12.5 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 50 MB\t",
]
Ask = Callable[[str], list[dict[str, str]]]


@pytest.fixture(scope="module")
def ask(localaws: RunningLocalAws) -> Ask:
    """Return what asks a query of a log group with `LINES` and returns its rows."""
    logs, group, now = localaws.client("logs"), f"/insights/{uuid.uuid4().hex}", int(time.time() * 1000)
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    events = [{"timestamp": now + number, "message": line} for number, line in enumerate(LINES)]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)

    def answer(query: str) -> list[dict[str, str]]:
        period = {"startTime": now // 1000 - 60, "endTime": now // 1000 + 60}
        query_id = logs.start_query(logGroupName=group, queryString=query, **period)["queryId"]
        results = logs.get_query_results(queryId=query_id)
        assert results["status"] == "Complete" and results["statistics"]["recordsScanned"] == len(LINES)
        return [{cell["field"]: cell["value"] for cell in row if cell["field"] != "@ptr"} for row in results["results"]]

    return answer


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("filter @message like /hello 1/ | stats count(*)", [{"count(*)": "1"}]),
        ("fields @message | sort @timestamp asc | limit 1", [{"@message": "hello 0"}]),
        (
            'filter level = "ERROR" and at.step >= 2 | display ms, at.step / 2 as half | sort ms',
            [{"ms": "20", "half": "1"}, {"ms": "30", "half": "1.5"}],
        ),
        (
            'filter @type = "REPORT" | stats max(@duration), max(@maxMemoryUsed/1000/1000) as mb',
            [{"max(@duration)": "12.5", "mb": "50"}],
        ),
        (
            "filter ispresent(level) | stats count() as n, avg(ms), pct(ms, 50) by level",
            [{"level": "ERROR", "n": "4", "avg(ms)": "15", "pct(ms, 50)": "15"}],
        ),
        ('filter @message not like "hello" and level in ["ERROR"] | dedup level | display level', [{"level": "ERROR"}]),
    ],
)
def test_a_query_is_answered_from_the_events(ask: Ask, query: str, rows: list[dict[str, str]]) -> None:
    assert ask(query) == rows


def test_events_are_binned_by_time(ask: Ask) -> None:
    rows = ask("stats count(*) as n by bin(1h)")
    assert sum(int(row["n"]) for row in rows) == len(LINES)
    assert all(row["bin(1h)"].endswith(":00:00.000") for row in rows)


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ('parse @message "x * y" as z', "UnsupportedOperation", "the command parse"),
        ("fields jsonParse(@message)", "UnsupportedOperation", "the function jsonParse"),
        ("nonsense", "MalformedQueryException", "nonsense"),
        ("filter", "MalformedQueryException", "end of query"),
        ("stats ms", "MalformedQueryException", "stats needs functions"),
        ("filter @message like /(/", "MalformedQueryException", "invalid regular expression"),
    ],
)
def test_what_is_not_executed_is_refused_by_name(ask: Ask, query: str, code: str, text: str) -> None:
    with pytest.raises(ClientError) as refused:
        ask(query)
    assert refused.value.response["Error"]["Code"] == code
    assert text in refused.value.response["Error"]["Message"]


def test_a_query_or_a_group_that_is_not_there_is_not_found(localaws: RunningLocalAws) -> None:
    logs: Any = localaws.client("logs")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        logs.get_query_results(queryId="nothing")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        logs.start_query(logGroupName="/not/there", startTime=0, endTime=1, queryString="limit 1")
