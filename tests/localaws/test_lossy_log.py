"""What cannot be written into a log is counted and told there; its writer, and the process it listens to, go on."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws.processes import ProcessTable
from localaws.record import read_record
from tests.conftest import ROOT
from tests.keys import for_boto3, give_keys
from tests.polling import wait_until

FULL = Path("/dev/full")
ON_A_LIMITED_DISK = """
import resource, sys
from pathlib import Path
from localaws.lossy_log import LossyLog
path = Path(sys.argv[1])
log = LossyLog.of(path)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
log.write(b"first\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (6, limits[1]))
log.write(b"second\\n")
log.write(b"third\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
log.write(b"fourth\\n")
log.write(b"fifth\\n")
"""
needs_full_device = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")


def test_lines_that_did_not_fit_are_counted_and_told_where_they_are_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_A_LIMITED_DISK, str(tmp_path / "log")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    note = "localaws: 2 lines could not be written here: File too large"
    assert (tmp_path / "log").read_text().split("\n") == ["first", "", note, "fourth", "fifth", ""]


@needs_full_device
def test_a_process_whose_log_cannot_be_written_runs_to_its_end_and_its_lines_arrive(tmp_path: Path) -> None:
    table, lines = ProcessTable(tmp_path / "processes", str(tmp_path)), list[str]()
    child = table.spawn(
        ["seq", "100000"],
        name="talker",
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        on_line=lines.append,
        log_path=FULL,
    )
    assert child.wait(60) == 0 and len(lines) == 100_000
    table.stop_all(grace_seconds=0)


@needs_full_device
def test_a_process_whose_record_cannot_be_written_does_not_run(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path / "processes", str(tmp_path))
    (tmp_path / "processes").rmdir()
    with pytest.raises(FileNotFoundError):
        table.spawn(["sleep", "4711"], name="lost", env={"PATH": "/usr/bin:/bin"}, cwd=tmp_path)
    assert table.running() == []


@needs_full_device
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes are Linux's")
def test_a_server_that_cannot_write_its_own_output_serves_on(tmp_path: Path) -> None:
    give_keys(tmp_path)
    command = [sys.executable, "-m", "localaws", "--home", str(tmp_path), "--port", "0"]
    with FULL.open("w") as full:
        server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=full, stderr=full)
    try:
        record = wait_until(lambda: read_record(tmp_path), "localaws to start", seconds=120)
        s3 = boto3.client("s3", endpoint_url=record.url, region_name="us-east-1", **for_boto3())
        s3.create_bucket(Bucket="full")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        with pytest.raises(ClientError, match="InsufficientStorage"):
            s3.put_object(Bucket="full", Key="x", Body=bytes(200_000))
        s3.put_object(Bucket="full", Key="small", Body=b"small")
        assert [each["Key"] for each in s3.list_objects_v2(Bucket="full")["Contents"]] == ["small"]
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
