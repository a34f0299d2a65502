"""What the pipeline decides by itself; the whole way is in `tests/kennel/commands/test_whole_way.py`."""

import asyncio
import logging
from pathlib import Path

import pytest

from flows.pipeline import _keep_evidence
from tasks.run.aws import Aws
from tasks.run.errors import DiskFailed, KennelError, StageFailed, Unexpected
from tasks.run.handle import Run
from tasks.run.settings import Settings


@pytest.mark.parametrize("kind", [DiskFailed, StageFailed, Unexpected])
def test_a_run_whose_evidence_fails_goes_on_with_a_warning(
    tmp_path: Path, kind: type[KennelError], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Run) -> None:
        raise kind("evidence", "it cannot be kept", "the disk is full", "free disk space")

    run = Run(Aws(Settings(endpoint_url="http://127.0.0.1:1", runs=tmp_path)), "dogs-1")
    with caplog.at_level(logging.INFO, logger="kennel"):
        asyncio.run(_keep_evidence(run, fail))
    assert "WARNING: there is no evidence of this run: evidence: it cannot be kept" in caplog.text
