"""`--no-processes`, which `make test-fast` runs with."""

import subprocess
import sys

from tests.conftest import ROOT

TESTS = "tests/setup/test_bootstrap.py"


def test_tests_that_start_a_process_are_skipped_without_a_mark() -> None:
    command = [sys.executable, "-m", "pytest", "--no-processes", "-rs", TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "it starts a process" in done.stdout and " passed" not in done.stdout
