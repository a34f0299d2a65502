"""Observe something in a thread of its own for as long as a `with` block lasts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self


@dataclass
class WatchThread:
    """Runs `watch` from the start of its `with` block; at the block's end it sets `_over` and waits for `watch`."""

    thread_name: ClassVar[str]
    end_seconds: ClassVar[float]
    """How long the end of the block waits for `watch` to return."""

    _over: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread = threading.Thread(target=self.watch, name=self.thread_name, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Tell `watch` that the block is over, and wait until it has taken its last observation."""
        self._over.set()
        self._thread.join(self.end_seconds)

    def watch(self) -> None:
        """Observe until `_over` is set."""
        raise NotImplementedError
