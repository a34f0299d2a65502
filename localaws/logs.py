"""Writes to CloudWatch Logs from inside the server: writing appends to a queue, and a thread hands them to moto.

Where lines are late as on AWS, they wait in the thread until somebody asks for logs after their time has come.
"""

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Entry:
    group: str
    stream: str
    lines: tuple[str, ...]
    timestamp_ms: int
    due: float  # by the monotonic clock


class Logs:
    """Writes lines to CloudWatch Logs, in order, without making the writer wait. Thread-safe.

    `delay`: how many real seconds the lines of a call of `write` are late, by its number; None: not at all.
    """

    def __init__(self, account_id: str, region: str, delay: Callable[[int], float] | None = None) -> None:
        self._account_id = account_id
        self._region = region
        self._queue: queue.SimpleQueue[_Entry | threading.Event] = queue.SimpleQueue()
        self._delay = delay
        self._late: deque[_Entry] = deque()
        self._number = 0
        self._last_ms: dict[tuple[str, str], int] = {}
        threading.Thread(target=self._drain, name="cloudwatch logs", daemon=True).start()

    def write(self, group: str, stream: str, lines: Iterable[str], timestamp_ms: int | None = None) -> None:
        """Append lines to a stream, made with its group when missing. `timestamp_ms`: Unix time, default now."""
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        due = time.monotonic() + self._delay_of_next() if self._delay else 0.0
        self._queue.put(_Entry(group, stream, tuple(lines), stamp, due))

    def has_group(self, name: str) -> bool:
        """Return whether a log group exists."""
        return name in self._backend().groups

    def flush(self, timeout_seconds: float = 10.0) -> bool:
        """Wait until all that was written before, and is not late, is to be read; False after `timeout_seconds`."""
        reached = threading.Event()
        self._queue.put(reached)
        return reached.wait(timeout_seconds)

    def _drain(self) -> None:
        while True:
            item = self._queue.get()
            if not isinstance(item, threading.Event):
                self._late.append(item)
            while self._late and self._late[0].due <= time.monotonic():
                self._try_to_store(self._late.popleft())
            if isinstance(item, threading.Event):
                item.set()

    def _delay_of_next(self) -> float:
        self._number += 1
        return self._delay(self._number) if self._delay else 0.0

    def _try_to_store(self, entry: _Entry) -> None:
        try:
            self._store(entry)
        except Exception as error:  # noqa: BLE001 one refused entry must not end the logging of all others
            print(f"localaws: lines of {entry.group}/{entry.stream} were not kept: {error!r}", file=sys.stderr)

    def _store(self, entry: _Entry) -> None:
        backend = self._backend()
        group = backend.groups.get(entry.group)
        if group is None:
            backend.create_log_group(entry.group, {})
            group = backend.groups[entry.group]
        if entry.stream not in group.streams:
            group.create_log_stream(entry.stream)
        key = (entry.group, entry.stream)
        stamp = self._last_ms[key] = max(entry.timestamp_ms, self._last_ms.get(key, 0))
        group.put_log_events(entry.stream, [{"timestamp": stamp, "message": line} for line in entry.lines])

    def _backend(self) -> Any:
        from moto.logs.models import logs_backends

        return logs_backends[self._account_id][self._region]
