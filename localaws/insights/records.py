"""The fields of a log event: its own, those of a JSON message, and those of Lambda's lines.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Record = dict[str, Any]

MOST_FIELDS = 200  # of a JSON message
_LAMBDA = re.compile(r"(START|END|REPORT) RequestId: (\S+)")
_NUMBERS = {
    "@duration": (re.compile(r"\tDuration: ([\d.]+) ms"), 1.0),
    "@billedDuration": (re.compile(r"Billed Duration: ([\d.]+) ms"), 1.0),
    "@memorySize": (re.compile(r"Memory Size: ([\d.]+) MB"), 1e6),
    "@maxMemoryUsed": (re.compile(r"Max Memory Used: ([\d.]+) MB"), 1e6),
    "@initDuration": (re.compile(r"Init Duration: ([\d.]+) ms"), 1.0),
}


def record_of(event: Any, group: str, stream: str) -> Record:
    """Return the fields of one of moto's events; `@timestamp` and `@ingestionTime` in milliseconds of Unix time."""
    own = {
        "@timestamp": event.timestamp,
        "@ingestionTime": event.ingestion_time,
        "@message": event.message,
        "@logStream": stream,
        "@log": group,
        "@ptr": str(event.event_id),
    }
    return {**_discovered(event.message), **own}


def _discovered(message: str) -> Record:
    if message.lstrip().startswith("{"):
        try:
            found = json.loads(message)
        except ValueError:
            return {}
        return dict(pair for _, pair in zip(range(MOST_FIELDS), _flat(found, ""), strict=False))
    return _of_lambda(message)


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (Mapping, list)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, each in items:
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    else:
        yield path, int(value) if isinstance(value, bool) else value


def _of_lambda(message: str) -> Record:
    match = _LAMBDA.match(message)
    if match is None:
        return {}
    found: Record = {"@type": match[1], "@requestId": match[2]}
    for name, (pattern, unit) in _NUMBERS.items():
        if value := pattern.search(message):
            found[name] = float(value[1]) * unit
    return found
