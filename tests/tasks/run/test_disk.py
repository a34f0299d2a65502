"""A disk that is full, read-only or not ours is one error with path and bytes, and what is repeated with room succeeds.

A full and a read-only disk are a small tmpfs in a mount namespace of its own; the program in it prints what it met.
"""

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from kennel.commands.unexpected import as_kennel_error
from tasks.run.disk import disk_boundary, failure_of_child
from tasks.run.errors import DiskFailed, translate
from tasks.run.record_store import write_atomically
from tests.conftest import ROOT, RunningLocalAws
from tests.tasks.data.datasets import good_files, write_folder
from tests.tasks.data.test_download import Site, site

__all__ = ["site"]

BEGIN = """
import os, subprocess, sys
from pathlib import Path
from tasks.run.errors import DiskFailed
from tasks.run.progress import LineProgress
from tasks.run.record_store import write_atomically
from tasks.run.settings import Settings
disk = Path(sys.argv[1])
def met(work):
    try:
        work()
    except DiskFailed as error:
        print(str(error).replace(str(disk), "DISK"), flush=True)
def mount(options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)
"""


def on_small_disk(folder: Path, program: str, *more: object) -> str:
    """Run a program with a disk of 256 KiB at `folder`/disk; return what it prints."""
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False, timeout=20)
    if probe.returncode != 0:
        pytest.skip("this kernel gives no mount namespace to this user")
    disk = folder / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=256k none "$1" && shift && exec "{sys.executable}" -c "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(disk), BEGIN + program, str(disk), *map(str, more)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_keeps_the_old_file_whole_and_says_what_is_needed(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
path = disk / "runs" / "record.json"
write_atomically(path, b"old")
met(lambda: write_atomically(path, bytes(400_000)))
print(path.read_bytes(), [each.name for each in path.parent.iterdir()])
mount("size=1m")
write_atomically(path, bytes(400_000))
print(path.stat().st_size)
""",
    )
    what, why, then, kept, size = said.splitlines()
    assert what == "disk: DISK/runs/record.json cannot be written"
    assert "No space left on device: DISK/runs has 0." in why and "MB free; 0.400 MB are needed" in why
    assert then == "  next: free disk space, then run the same command again, which goes on from there"
    assert kept == "b'old' ['record.json']" and size == "400000"


def test_a_read_only_disk_is_said_and_what_is_repeated_on_a_writable_one_succeeds(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
mount("ro")
met(lambda: write_atomically(disk / "runs" / "record.json", b"new"))
mount("rw")
write_atomically(disk / "runs" / "record.json", b"new")
print((disk / "runs" / "record.json").read_bytes())
""",
    )
    what, why, then, kept = said.splitlines()
    assert (what, why) == ("disk: DISK/runs/record.json cannot be written", "  why:  Read-only file system")
    assert then.startswith("  next: mount it writable, then") and kept == "b'new'"


def test_a_row_that_does_not_fit_on_the_disk_stops_the_call_that_it_announces(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
from tasks.run.ledger import Ledger
ledger = Ledger(disk / "runs" / "r", account_id="123456789012", endpoint="aws")
ledger.record("role", "kept", "created")
(disk / "rest").write_bytes(bytes(4096 * (os.statvfs(disk).f_bavail - 1)))
def fill():
    for number in range(2000):
        with ledger.create("role", f"role-{number}-{'x' * 200}", None):
            pass
met(fill)
whole = ledger.path.read_bytes().endswith(b"}\\n")
(disk / "rest").unlink()
ledger.record("role", "later", "created")
print(whole, {row.name for row in ledger.rows()} >= {"kept", "later"})
""",
    )
    what, why, _, rest = said.splitlines()
    assert what == "ledger: DISK/runs/r/ledger.jsonl cannot be written" and "No space left on device" in why
    assert rest == "True True"


def test_a_download_onto_a_full_disk_is_said_and_repeated_with_room(site: Site, tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
from tasks.data.download import download
settings = Settings(home=disk / "home")
get = lambda: download(sys.argv[2], settings, LineProgress, sleep=lambda _: None)
met(get)
mount("size=4m")
print(get().stat().st_size)
""",
        site.url,
    )
    what, why, _, size = said.splitlines()
    assert what.startswith("download: DISK/home/downloads/") and what.endswith(".zip.part cannot be written")
    assert "No space left on device" in why and f"{len(site.content) / 1e6:.1f} MB are needed" in why
    assert size == str(len(site.content)) and len(site.ranges) == 2  # a full disk is not tried five times


def test_staged_images_on_a_full_disk_are_said_and_repeated_with_room(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "data", good_files(train=30))
    said = on_small_disk(
        tmp_path,
        """
from tasks.data import staging
settings = Settings(home=disk / "home", staging_processes=1)
source = staging.locate(sys.argv[2], settings, LineProgress)
def judge():
    with staging.spool_directory(settings) as spool:
        print(len(staging.judge_source(source, settings, spool, LineProgress).images) > 30)
mount("size=48k")
met(judge)
mount("size=8m")
judge()
""",
        source,
    )
    what, why, _, judged = said.splitlines()
    assert what.startswith("decode: DISK/home/staging/") and what.endswith(".spool cannot be written")
    assert "No space left on device" in why and judged == "True"


def test_a_folder_of_another_user_is_said() -> None:
    program = f"{BEGIN}\nos.geteuid() or os.setuid(65534)\nmet(lambda: write_atomically(disk / 'record.json', b'new'))"
    with tempfile.TemporaryDirectory(prefix="kennel-test-") as closed:  # pytest's own folders are closed to others
        Path(closed).chmod(0o555)
        command = [sys.executable, "-c", program, closed]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    what, why, then = done.stdout.splitlines()
    assert what == "disk: DISK/record.json cannot be written" and why.startswith("  why:  Permission denied, for the")
    assert then.startswith("  next: give this user the right to write DISK, then")


def test_a_disk_without_inodes_is_not_said_to_lack_bytes(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
(disk / "one").touch()
mount("nr_inodes=3")
met(lambda: [write_atomically(disk / f"{each}.json", b"x") for each in range(4)])
mount("nr_inodes=30")
met(lambda: write_atomically(disk / "record.json", b"x"))
""",
    )
    what, why, then = said.splitlines()
    assert what.endswith(".json cannot be written") and why.endswith("free, but no inode, and each file takes one")
    assert then.startswith("  next: delete files that are not needed (df -i), then run the same command again")


def test_a_path_that_is_too_long_is_said_and_not_taken_for_a_defect(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match="File name too long") as caught, disk_boundary("step", tmp_path / "x"):
        (tmp_path / ("a" * 300)).touch()
    assert caught.value.next_command.startswith("use folders with shorter names, then")


def test_a_limit_on_the_size_of_files_is_said(tmp_path: Path) -> None:
    program = f"{BEGIN}\nmet(lambda: write_atomically(disk / 'record.json', bytes(100_000)))"
    command = ["prlimit", "--fsize=50000", sys.executable, "-c", program, str(tmp_path)]
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is of util-linux")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "disk: DISK/record.json cannot be written\n  why:  File too large: DISK has" in done.stdout, done.stderr
    assert "next: raise the limit on a file's size (ulimit -f), then" in done.stdout


def test_other_errors_of_the_operating_system_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), disk_boundary("here", tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_what_no_writer_translated_is_translated_at_the_end_of_the_command(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "x"))
    assert isinstance(as_kennel_error(full), DiskFailed)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes are Linux's")
def test_a_server_that_cannot_store_an_object_answers_507_once_and_stores_it_when_it_can(
    localaws: RunningLocalAws,
) -> None:
    s3, body = localaws.client("s3"), bytes(3_000_000)
    s3.create_bucket(Bucket="full-disk")
    before = resource.prlimit(localaws.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(localaws.pid, resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket="full-disk", Key="x", Body=body)
    finally:
        resource.prlimit(localaws.pid, resource.RLIMIT_FSIZE, before)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("InsufficientStorage", 507)
    assert "File too large" in answer["Error"]["Message"] and "MB are free" in answer["Error"]["Message"]
    told = translate(caught.value, "storage")
    assert isinstance(told, DiskFailed) and told.exit_code == 14 and "File too large" in told.why
    assert told.next_command.startswith("kennel down --yes, raise the limit on a file's size (ulimit -f unlimited), ")
    assert "Contents" not in s3.list_objects_v2(Bucket="full-disk")
    s3.put_object(Bucket="full-disk", Key="x", Body=body)
    s3.delete_object(Bucket="full-disk", Key="x")
    s3.delete_bucket(Bucket="full-disk")


def test_a_file_that_the_caller_does_not_name_may_not_be_read_or_not_be_written(tmp_path: Path) -> None:
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "x"))
    with pytest.raises(DiskFailed, match="x cannot be read or written"), disk_boundary("step"):
        raise refused
    assert "cannot be read or written" in str(as_kennel_error(refused))
    with pytest.raises(DiskFailed, match="x cannot be written"), disk_boundary("disk", tmp_path / "x"):
        raise refused


def test_exported_weights_on_a_full_disk_are_said_and_exported_with_room(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
from tasks.model.weights import find_weights
from tasks.run.options import ModelOptions
from tasks.run.settings import Settings
export = lambda: find_weights(ModelOptions(backbone="efficientnet_lite1"), Settings(home=disk / "home"))
met(export)
print([each.name for each in (disk / "home" / "weights").iterdir()])
mount("size=64m")
print(export().stat().st_size > 10**7)
""",
    )
    what, why, _, left, exported = said.splitlines()
    assert what == "weights: DISK/home/weights/efficientnet_lite1.safetensors cannot be written"
    assert "No space left on device" in why and "MB free" in why
    assert (left, exported) == ("[]", "True")


def test_the_code_package_the_function_and_the_sample_on_a_full_disk_are_said_by_path(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
from tasks.data.sample import make_sample
from tasks.model.code import build_lambda_zip, stage_training_code
mount("size=8k")
(disk / "rest").write_bytes(bytes(4096 * os.statvfs(disk).f_bavail))
for work in (
    lambda: stage_training_code(disk / "code"),
    lambda: build_lambda_zip(disk / "function.zip"),
    lambda: make_sample(disk / "home"),
):
    met(work)
""",
    )
    whats = said.splitlines()[::3]
    assert [what.partition(":")[0] for what in whats] == ["code package", "disk", "sample"]
    assert all("DISK/" in what and "cannot be" in what for what in whats) and said.count("No space left") == 3


def test_prefects_database_on_a_full_disk_is_said_and_copied_with_room(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
from kennel.servers import prefect, processes
met(lambda: prefect.begin(disk / "home"))
print((disk / "home" / "prefect" / "prefect.db").exists())
mount("size=64m")
print(prefect.begin(disk / "home").is_alive, processes.stop(disk / "home", prefect.NAME))
""",
    )
    what, why, _, copied, started = said.splitlines()
    assert what == "Prefect's server: DISK/home/prefect/prefect.db cannot be written"
    assert "No space left on device" in why and "MB are needed" in why
    assert (copied, started) == ("False", "True True")


def test_a_disk_that_fills_up_while_prefects_server_writes_is_told(tmp_path: Path) -> None:
    said = on_small_disk(
        tmp_path,
        """
import httpx
from kennel.commands.unexpected import as_kennel_error
os.environ["KENNEL_HOME"] = str(disk)
(disk / "prefect").mkdir()
print(as_kennel_error(httpx.HTTPError("500 Internal Server Error")).exit_code)
print(str(as_kennel_error(httpx.HTTPError("500 Internal Server Error"))).replace(str(disk), "DISK"))
mount("size=64m")
print(as_kennel_error(httpx.HTTPError("500 Internal Server Error")).exit_code)
""",
    )
    code, what, why, again, with_room = said.splitlines()
    assert (code, with_room) == ("14", "9") and what == "Prefect's server: DISK/prefect/prefect.db cannot be written"
    assert "No space left on device" in why and "free disk space" in again


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_in_a_files_place_is_said_with_what_to_remove(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "record.json"
    make(path)
    with pytest.raises(DiskFailed) as caught:
        write_atomically(path, b"new")
    assert f"{path} cannot be read or written" in caught.value.what
    assert caught.value.next_command.startswith(f"remove or move {path}, then")


def test_a_file_where_a_folder_belongs_is_said_with_what_to_remove(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(DiskFailed, match=f"remove or move {tmp_path}/runs, then"):
        write_atomically(tmp_path / "runs" / "r" / "record.json", b"new")


def test_a_limit_on_open_files_is_said_with_what_to_do(tmp_path: Path) -> None:
    said = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(open(os.devnull))
except OSError:
    met(lambda: write_atomically(disk / "record.json", b"new"))
"""
    command = [sys.executable, "-c", BEGIN + said, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    what, why, then = done.stdout.splitlines()
    assert what == "disk: DISK/record.json cannot be opened" and why == "  why:  Too many open files", done.stderr
    assert "raise the limit (ulimit -n)" in then
    assert isinstance(as_kennel_error(OSError(errno.EMFILE, "Too many open files")), DiskFailed)


def test_the_last_words_of_a_child_name_a_full_disk(tmp_path: Path) -> None:
    for said in ("OSError: [Errno 28] No space left on device", "SafetensorError: I/O error: (os error 28)"):
        failed = failure_of_child(said, "loadtest", tmp_path / "x")
        assert failed is not None and "No space left on device" in failed.why
    assert failure_of_child("ValueError: 7", "loadtest", tmp_path / "x") is None
