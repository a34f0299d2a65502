"""Let a greenlet sleep until a given time, precise to some tens of microseconds, while other greenlets run.

gevent's own timers round up to the next millisecond (0.6 ms late in the median), which would add to the latency of a
fast endpoint. Linux's timerfd is precise to nanoseconds and wakes the event loop like a socket. On other systems
gevent's timer is used. The lag of each request is measured and reported in either case.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

import gevent
from gevent import get_hub

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC if sys.platform == "linux" else 0
_ABSOLUTE_TIME = 1
_READABLE = 1


class _TimerSpec(ctypes.Structure):
    """struct itimerspec: the interval, then the time of expiry, each in seconds and nanoseconds."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class PreciseTimer:
    """Lets a greenlet sleep until a time of `time.perf_counter`; use it in a `with` block of that greenlet."""

    def __enter__(self) -> PreciseTimer:
        """Open the timer.

        Raises:
            OSError: the kernel could not create a timer.
        """
        self._descriptor: int | None = None
        if sys.platform == "linux":
            self._library: Any = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._checked(self._library.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC))
            self._watcher = get_hub().loop.io(self._descriptor, _READABLE)
            self._spec = _TimerSpec()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the timer."""
        if self._descriptor is not None:
            self._watcher.stop()
            self._watcher.close()
            os.close(self._descriptor)
            self._descriptor = None

    def sleep_until(self, moment: float) -> None:
        """Sleep until `time.perf_counter()` reaches `moment`; return at once if that has passed."""
        if moment <= time.perf_counter():
            return
        if self._descriptor is None:
            gevent.sleep(max(0.0, moment - time.perf_counter()))
            return
        self._spec.seconds = int(moment)
        self._spec.nanoseconds = int((moment % 1) * 1e9)
        spec = ctypes.byref(self._spec)
        self._checked(self._library.timerfd_settime(self._descriptor, _ABSOLUTE_TIME, spec, None))
        get_hub().wait(self._watcher)
        os.read(self._descriptor, 8)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
