"""Load tests whose counts matter and whose timing does not."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from tasks.run.errors import Inconclusive
from tasks.run.record_store import load_record
from tasks.run.records import LoadReport


def even_if_void(run_dir: Path, run: Callable[[], LoadReport]) -> LoadReport:
    """Return the report of a load test; beside other programs the run may be void, and is kept all the same."""
    with contextlib.suppress(Inconclusive):
        return run()
    report = load_record(run_dir, LoadReport)
    assert report is not None and not report.is_valid
    return report
