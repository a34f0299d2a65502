"""Writes to CloudWatch Logs from inside the server: writing appends to a queue, and a thread hands them to moto."""

import queue
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Entry:
    group: str
    stream: str
    lines: tuple[str, ...]
    timestamp_ms: int


class Logs:
    """Writes lines to CloudWatch Logs, in order, without making the writer wait. Thread-safe."""

    def __init__(self, account_id: str, region: str) -> None:
        self._account_id = account_id
        self._region = region
        self._queue: queue.SimpleQueue[_Entry | threading.Event | None] = queue.SimpleQueue()
        self._last_ms: dict[tuple[str, str], int] = {}
        threading.Thread(target=self._drain, name="cloudwatch logs", daemon=True).start()

    def write(self, group: str, stream: str, lines: Iterable[str], timestamp_ms: int | None = None) -> None:
        """Append lines to a stream, made with its group when missing. `timestamp_ms`: Unix time, default now."""
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        self._queue.put(_Entry(group, stream, tuple(lines), stamp))

    def has_group(self, name: str) -> bool:
        """Return whether a log group exists."""
        return name in self._backend().groups

    def flush(self, timeout_seconds: float = 10.0) -> bool:
        """Wait until all that was written before is to be read; False if `timeout_seconds` passed first."""
        reached = threading.Event()
        self._queue.put(reached)
        return reached.wait(timeout_seconds)

    def close(self) -> None:
        """End the thread once all that was written before is to be read."""
        self._queue.put(None)

    def _drain(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._try_to_store(item)

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
