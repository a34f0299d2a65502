"""A host of a staging job: how many processes it starts, and what it says when it cannot begin."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tasks.model.code import REPOSITORY
from tasks.processing.code_package import code_archive
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


def test_all_hosts_install_the_versions_and_hashes_of_the_lock() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    with tarfile.open(fileobj=io.BytesIO(code_archive())) as tar:
        member = tar.extractfile("requirements.txt")
        assert member is not None
        entries = re.split(r"^(?=\S)", member.read().decode(), flags=re.MULTILINE)[1:]

    assert [entry for entry in entries if "--hash=sha256:" not in entry or entry not in lock] == []
    assert {"numpy", "pillow", "simplejpeg", "pi-heif"} <= {entry.partition("==")[0] for entry in entries}
