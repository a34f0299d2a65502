"""A host of a staging job: how many processes it starts, and what it says when it cannot begin."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.model.code import REPOSITORY
from tasks.processing.host import settings_in
from tests.tasks.processing.test_order import order_of


def test_a_host_with_more_than_64_processors_uses_64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(96)))

    assert settings_in(tmp_path, order_of({})).staging_processes == 64


def test_a_host_that_cannot_read_its_order_says_so_in_the_exit_message(tmp_path: Path) -> None:
    code, order = (tmp_path / "processing" / "input" / name for name in ("code", "order"))
    for folder in (code, order, tmp_path / "config"):
        folder.mkdir(parents=True)
    (order / "order.json.gz").write_bytes(b"no order")
    (tmp_path / "config" / "resourceconfig.json").write_text(json.dumps({"current_host": "a-1", "hosts": ["a-1"]}))

    ended = subprocess.run(
        [sys.executable, "-m", "tasks.processing.host"],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert (tmp_path / "output" / "message").read_text().startswith("a-1: ")
