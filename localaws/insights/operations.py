"""StartQuery and GetQueryResults on the wire, in the place of moto's; a query is complete when StartQuery returns."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from moto.core.utils import utcnow
from moto.logs.models import LogQuery
from moto.logs.responses import LogsResponse

from localaws.errors import AwsError
from localaws.insights.execution import execute
from localaws.insights.language import read_query
from localaws.insights.records import Record, record_of

LANGUAGE = "CWLI"


class ExecutedQuery(LogQuery):
    """A query with its result."""

    def __init__(self, query: str, groups: list[Any], begin: int, end: int, limit: int | None) -> None:
        self.query_id = str(uuid.uuid4())
        self.start_time, self.end_time, self.query = begin, end, query
        self.log_group_names = [each.name for each in groups]
        self.create_time = utcnow()
        commands = read_query(query)
        records = list(_records(groups, begin, end))
        self.scanned_bytes = sum(len(each["@message"].encode()) for each in records)
        self.scanned = len(records)
        self.result = execute(commands, records, limit)
        self.status = "Complete"

    def to_result_json(self) -> dict[str, Any]:
        """Return the answer of GetQueryResults."""
        statistics = {
            "recordsMatched": float(self.result.matched),
            "recordsScanned": float(self.scanned),
            "bytesScanned": float(self.scanned_bytes),
        }
        return {"queryLanguage": LANGUAGE, "results": self.result.rows, "statistics": statistics, "status": self.status}


def start_query(response: Any) -> str:
    """StartQuery.

    Raises: AwsError ResourceNotFoundException for a missing group, MalformedQueryException and others for the query.
    """
    asked = json.loads(response.body)
    if asked.get("queryLanguage", LANGUAGE) != LANGUAGE:
        text = f"localaws does not execute queries in {asked['queryLanguage']}, only in {LANGUAGE}."
        raise AwsError("UnsupportedOperation", text, status=501)
    begin, end = int(asked["startTime"]), int(asked["endTime"])
    if begin > end:
        raise AwsError("InvalidParameterException", "End time should not be less than start time.")
    groups = list(_groups(response.logs_backend, asked))
    query = ExecutedQuery(asked["queryString"], groups, begin, end, asked.get("limit"))
    response.logs_backend.queries[query.query_id] = query
    return json.dumps({"queryId": query.query_id})


def get_query_results(response: Any) -> str:
    """GetQueryResults.

    Raises: AwsError ResourceNotFoundException.
    """
    query_id = json.loads(response.body)["queryId"]
    query = response.logs_backend.queries.get(query_id)
    if query is None:
        raise AwsError("ResourceNotFoundException", f"Query with id {query_id} does not exist.")
    return json.dumps(query.to_result_json())


def install_operations() -> None:
    """Have moto dispatch to these."""
    for operation in (start_query, get_query_results):
        setattr(LogsResponse, operation.__name__, operation)


def _groups(backend: Any, asked: dict[str, Any]) -> Iterator[Any]:
    given = [asked[name] for name in ("logGroupName", "logGroupNames", "logGroupIdentifiers") if asked.get(name)]
    if len(given) != 1:
        raise AwsError(
            "InvalidParameterException", "One of logGroupName, logGroupNames, logGroupIdentifiers is needed."
        )
    for each in [given[0]] if isinstance(given[0], str) else given[0]:
        name = each.partition(":log-group:")[2].removesuffix(":*") if each.startswith("arn:") else each
        if name not in backend.groups:
            text = f"Log group '{name}' does not exist for account ID '{backend.account_id}'"
            raise AwsError("ResourceNotFoundException", text)
        yield backend.groups[name]


def _records(groups: list[Any], begin: int, end: int) -> Iterator[Record]:
    """Yield the events of both seconds and those between."""
    for group in groups:
        for stream in list(group.streams.values()):
            for event in list(stream.events):
                if begin * 1000 <= event.timestamp < (end + 1) * 1000:
                    yield record_of(event, group.name, stream.log_stream_name)
