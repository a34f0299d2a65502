"""Tests that a job's output is valid UTF-8 whoever writes it, so that SageMaker's launcher does not end the job."""

import importlib.util
import io
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import sagemaker

ROOT = Path(__file__).resolve().parents[2]
PRINTING = r"""
    import os, subprocess, sys
    from training.output import utf8_output

    with utf8_output():
        os.write(1, b"library \xff\xfe\n")
        print("surrogate \udcff", flush=True)
        os.write(2, "café \N{DOG}\n".encode()[:-1])
        os.write(2, b"\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(1, b'child \\x80\\n')"])
        print("FAILED: \ud800", file=sys.stderr, flush=True)
        if "abort" in sys.argv:
            os.write(2, b"last words \xf0\x9f\n")
            os.abort()
        os.write(1, b"the end, cut \xe2\x82")
    print("\nafter")
"""
LINES = (
    r"library \xff\xfe",
    r"surrogate \udcff",
    "café 🐕",
    r"child \x80",
    r"FAILED: \ud800",
)


def script(folder: Path) -> Path:
    path = folder / "script.py"
    path.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(PRINTING)}")
    return path


@pytest.mark.parametrize("is_one_stream", [True, False])
def test_every_byte_that_a_job_prints_arrives_as_utf_8(tmp_path: Path, is_one_stream: bool) -> None:
    errors = subprocess.STDOUT if is_one_stream else subprocess.PIPE
    command = [sys.executable, str(script(tmp_path))]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, timeout=60)
    out = done.stdout.decode("utf-8", "strict").splitlines()
    if is_one_stream:
        assert (done.returncode, out) == (0, [*LINES, r"the end, cut \xe2\x82", "after"])
    else:
        assert done.stderr.decode("utf-8", "strict").splitlines() == [LINES[2], LINES[4]]
        assert out == [LINES[0], LINES[1], LINES[3], r"the end, cut \xe2\x82", "after"]


def test_the_last_lines_of_a_crash_arrive(tmp_path: Path) -> None:
    command = [sys.executable, str(script(tmp_path)), "abort"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode < 0
    assert done.stdout.decode("utf-8", "strict").splitlines() == [*LINES, r"last words \xf0\x9f"]


def test_the_sdk_s_launcher_reads_it_to_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    driver = sdk_driver()
    with caplog.at_level("INFO"):
        assert driver.execute_commands([sys.executable, str(script(tmp_path))]) == (0, "")
    assert tuple(caplog.messages[: len(LINES)]) == LINES
    with pytest.raises(UnicodeDecodeError):  # if it does not raise any more, training/output.py is not needed
        driver.log_subprocess_output(io.BytesIO(b"\xff\xfe\n"))


def sdk_driver() -> Any:
    """Return the SDK's module that runs the training command in the container; importing its package takes seconds."""
    (root,) = sagemaker.__path__
    path = Path(root) / "train" / "container_drivers" / "common" / "utils.py"
    spec = importlib.util.spec_from_file_location("sdk_driver", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
