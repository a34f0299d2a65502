"""Writes a run's page anew when a flow that changed its records ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.page.page import write_page
from tasks.report.summary import summarise
from tasks.run.handle import RunFolder


@contextmanager
def reported(run: RunFolder) -> Iterator[None]:
    """Write runs/<id>/report.html at the end of the block.

    Raises:
        DiskFailed: the page cannot be written.
    """
    try:
        yield
    finally:
        write_page(summarise(run))
