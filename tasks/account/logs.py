"""Follow the CloudWatch Logs of a job or function: read the new lines of all its streams, each line once."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws
from tasks.run.bounded_answers import PageBounds
from tasks.run.errors import aws_boundary

TAIL_LINES = 20
REMEMBERED_EVENTS = 20_000
"""Of each stream, for `LogFollower`; a page has at most 10,000."""


@dataclass(frozen=True)
class LogLine:
    """One log event; `source` is the last part of the stream's name without SageMaker's suffix ("algo-1")."""

    source: str
    message: str
    timestamp_ms: int

    def __str__(self) -> str:
        return f"{self.source} | {self.message}"


def log_stream_names(aws: Aws, group: str, prefix: str = "") -> list[str]:
    """Return the names of a log group's streams that begin with `prefix`; a missing group has none.

    Raises:
        ClientError: CloudWatch Logs refused.
    """
    wanted = {"logStreamNamePrefix": prefix} if prefix else {}
    pages = aws.client("logs").get_paginator("describe_log_streams").paginate(logGroupName=group, **wanted)
    found = none_if_missing(lambda: [stream for page in pages for stream in page["logStreams"]])
    return [str(stream["logStreamName"]) for stream in found or []]


class LogFollower:
    """Reads the lines that were added since the last `poll` to those streams of a group that begin with a prefix.

    Constructing it does no I/O. New streams are included as they appear, and a group that does not exist yet has none.
    AWS may repeat events under another token; an event that an earlier page had is not returned again. Events have no
    id, so two are the same when both times and the message are. Equal lines on one page are different events.
    """

    def __init__(self, aws: Aws, group: str, stream_prefix: str = "") -> None:
        self.group = group
        self.stream_prefix = stream_prefix
        self._aws = aws
        self._tokens: dict[str, str | None] = {}
        self._tails: dict[str, deque[str]] = {}
        self._returned: dict[str, ReturnedEvents] = {}

    def poll(self) -> list[LogLine]:
        """Return the new lines of all streams, oldest first.

        Raises:
            AwsFailed: CloudWatch Logs refused a call, or did not answer.
        """
        with aws_boundary(f"logs {self.group}"):
            streams = log_stream_names(self._aws, self.group, self.stream_prefix)
            lines = [line for stream in streams for line in self._new_lines(stream)]
        for line in lines:
            self._tails.setdefault(line.source, deque(maxlen=TAIL_LINES)).append(line.message)
        return sorted(lines, key=lambda line: line.timestamp_ms)

    def tail(self) -> str:
        """Return the last lines of every stream that `poll` has returned, for an error message."""
        blocks = (f"{source}:\n" + "\n".join(f"    {text}" for text in kept) for source, kept in self._tails.items())
        return "\n".join(blocks)

    def _new_lines(self, stream: str) -> Iterator[LogLine]:
        """Read until AWS returns the same token twice, which marks the end; empty pages may come before it."""
        source, returned = _source(stream), self._returned.setdefault(stream, ReturnedEvents())
        client, bounds = self._aws.client("logs"), PageBounds()
        while True:
            page = bounds.timed(lambda: self._page(stream))
            for event in returned.new_of(page["events"]):
                yield LogLine(source, str(event["message"]).rstrip("\n"), int(event["timestamp"]))
            following = page["nextForwardToken"]
            if following == self._tokens.get(stream):
                return
            bounds.check(client, "get_log_events", {"nextForwardToken": following})
            self._tokens[stream] = following

    def _page(self, stream: str) -> Any:
        token = self._tokens.get(stream)
        more = {"nextToken": token} if token else {}
        asked = {"logGroupName": self.group, "logStreamName": stream, "startFromHead": True, **more}
        return self._aws.client("logs").get_log_events(**asked)


class ReturnedEvents:
    """The newest events that were returned of one stream, with how often a page had each."""

    def __init__(self) -> None:
        self._most: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        """Return how many different events are remembered."""
        return len(self._most)

    def new_of(self, events: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield the events of a page that no earlier page had as often."""
        seen: Counter[int] = Counter()
        for event in events:
            identity = hash(repr((event["timestamp"], event.get("ingestionTime"), event["message"])))
            seen[identity] += 1
            if seen[identity] > self._most.get(identity, 0):
                self._most[identity] = seen[identity]
                yield event
            self._most.move_to_end(identity)
        while len(self._most) > REMEMBERED_EVENTS:
            self._most.popitem(last=False)


def _source(stream: str) -> str:
    """Return "algo-1" for "job/algo-1-1700000000", and the last part of the name for a function's stream."""
    last = stream.rpartition("/")[2]
    head, _, number = last.rpartition("-")
    return head if head.startswith("algo-") and number.isdigit() else last
