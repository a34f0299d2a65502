"""Do the same work on several things at the same time, and end the rest of it soon when it failed on one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from tasks.run.errors import StageFailed
from tasks.run.waiting import Waiting

Item = TypeVar("Item")
Found = TypeVar("Found")


def _nothing() -> None:
    """Let the others go on to their own end."""


def at_once(
    items: Sequence[Item], work: Callable[[Item], Found], *, end_others: Callable[[], None] = _nothing
) -> list[Found]:
    """Return the results of the same work on each item; all threads have ended then.

    `end_others` is called when the work has failed on one item, and makes it fail soon on the others.

    Raises:
        KennelError: that of the work which failed first.
    """
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        futures = [pool.submit(work, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        first = next((found for each in futures if each in done and (found := each.exception()) is not None), None)
        if first is not None:
            end_others()
    if first is not None:
        raise first
    return [each.result() for each in futures]


class EndedWaits:
    """Waits in several threads that end together, in the middle of their pauses, when `end` is called."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.waiting = Waiting(sleep=self._sleep)

    def end(self) -> None:
        """End the waits.

        Each raises `StageFailed` where it waits.
        """
        self._ended.set()

    def _sleep(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            why = "the same work has failed elsewhere, and that error is told"
            raise StageFailed("wait", "it was ended", why, "run the same command again")
