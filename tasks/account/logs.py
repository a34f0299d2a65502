"""CloudWatch Logs, read by token: every stream of a job or function, each line once, in the order of each stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary, is_not_found

TAIL_LINES = 20


@dataclass(frozen=True)
class LogLine:
    """One event; `source` is the stream's last part without SageMaker's suffix ("algo-1"), `timestamp_ms` UTC."""

    source: str
    message: str
    timestamp_ms: int

    def __str__(self) -> str:
        return f"{self.source} | {self.message}"


class LogFollower:
    """Reads what was added since the last `poll` to the streams of a group whose names begin with a prefix.

    Constructing it does no I/O. Streams that appear later are picked up; a group that does not exist yet is empty.
    """

    def __init__(self, aws: Aws, group: str, stream_prefix: str = "") -> None:
        self.group = group
        self.stream_prefix = stream_prefix
        self._client = aws.client("logs")
        self._tokens: dict[str, str | None] = {}
        self._tails: dict[str, deque[str]] = {}

    def poll(self) -> list[LogLine]:
        """Return the new lines of all streams, oldest first.

        Raises:
            AwsFailed: CloudWatch Logs refused.
        """
        with aws_boundary(f"logs {self.group}"):
            lines = [line for stream in self._streams() for line in self._new_lines(stream)]
        for line in lines:
            self._tails.setdefault(line.source, deque(maxlen=TAIL_LINES)).append(line.message)
        return sorted(lines, key=lambda line: line.timestamp_ms)

    def tail(self) -> str:
        """Return the last lines seen of every stream, for an error message."""
        blocks = (f"{source}:\n" + "\n".join(f"    {text}" for text in kept) for source, kept in self._tails.items())
        return "\n".join(blocks)

    def _streams(self) -> list[str]:
        wanted = {"logStreamNamePrefix": self.stream_prefix} if self.stream_prefix else {}
        pages = self._client.get_paginator("describe_log_streams").paginate(logGroupName=self.group, **wanted)
        try:
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if is_not_found(error):
                return []
            raise

    def _new_lines(self, stream: str) -> Iterator[LogLine]:
        """Read to the end, which the same token twice means: AWS may send empty pages before it (GetLogEvents)."""
        source = _source(stream)
        while True:
            page = self._page(stream)
            for event in page["events"]:
                yield LogLine(source, str(event["message"]).rstrip("\n"), int(event["timestamp"]))
            following = page["nextForwardToken"]
            if following == self._tokens.get(stream):
                return
            self._tokens[stream] = following

    def _page(self, stream: str) -> Any:
        token = self._tokens.get(stream)
        more = {"nextToken": token} if token else {}
        return self._client.get_log_events(logGroupName=self.group, logStreamName=stream, startFromHead=True, **more)


def _source(stream: str) -> str:
    """ "job/algo-1-1700000000" → "algo-1"; a stream of a function keeps its last part."""
    last = stream.rpartition("/")[2]
    head, _, number = last.rpartition("-")
    return head if head.startswith("algo-") and number.isdigit() else last
