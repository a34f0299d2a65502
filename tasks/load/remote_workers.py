"""Describes machines beside this one whose Locust workers send the requests of a load test.

This module says only what a load test needs of them; `tasks.load.workers` has them on EC2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class RemoteWorkers(Protocol):
    """The machines of one load test; after it, what they say of it."""

    @property
    def generators(self) -> int:
        """The number of Locust processes on all machines together."""

    def joined(self, plan: Mapping[str, Any], port: int) -> AbstractContextManager[None]:
        """Have the workers send the requests of `plan` for the master at a port of this machine's loopback.

        They connect inside the block; at its end they have ended.

        Raises (entering):
            Inconclusive: a machine's clock cannot be compared with this one's.
            RemoteFailed: something went wrong on a machine or on the way to it.
            WaitTimedOut: a machine was not ready in time.
        """

    @property
    def label(self) -> str:
        """The machines and how far their clocks may differ, in words."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One row for each machine, for `loadtest.json`."""

    @property
    def faults(self) -> Sequence[str]:
        """What went wrong with a machine or its workers; it explains why a generator is missing."""

    @property
    def voids(self) -> Sequence[str]:
        """What makes the run void though all generators sent their results."""
