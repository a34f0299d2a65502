"""What functions, models and training scripts try in order to get at what is not theirs, and what they must not get."""

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.conftest import ROOT, RunningLocalAws

OWN_NUMBERS = 1000
"""More than the processes that a program under test starts."""
SECRET = "http://user:secret@example.com/data.zip"
PRY = '''
import os, subprocess, sys
TAKE = """
umount -l /tmp /opt/ml/model /opt/ml /var/task /etc /usr / 2>/dev/null; mount -o remount,rw /usr 2>/dev/null
for path; do { head -c 1 "$path" || ls "$path/"; } >/dev/null 2>&1 && echo "$path"; done
for place in $PLACES; do touch "$place/x" 2>/dev/null && echo "$place"; done
true
"""
def signalled(pids):
    """Return which processes would get a signal."""
    found = []
    for pid in pids:
        try:
            os.kill(pid, 0)
        except OSError:
            continue
        found.append(pid)
    return found
def seen(pids):
    """Return which processes have a folder in /proc, or could be limited or made the first to be killed."""
    import resource
    found = {pid for pid in pids if os.path.exists(f"/proc/{pid}")}
    for pid in pids:
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, resource.prlimit(pid, resource.RLIMIT_NOFILE))
            found.add(pid)
        except OSError:
            pass
        try:
            open(f"/proc/{pid}/oom_score_adj", "w").write("1000")
            found.add(pid)
        except OSError:
            pass
    return sorted(found)
def commands():
    """Return the command lines that can be read in /proc, by process id."""
    return {pid: open(f"/proc/{pid}/cmdline").read().split("\\0")[:-1] for pid in os.listdir("/proc") if pid.isdigit()}
def pry(paths):
    """Return what can be read of the paths, or written of the host, as one is and as root of other namespaces."""
    places = ["/usr", "/etc", sys.prefix, os.getcwd() if os.getcwd() == "/var/task" else "/usr/lib"]
    found = set()
    for shell in (["unshare", "-rm", "sh"], ["sh"]):
        environment = {**os.environ, "PLACES": " ".join(places)}
        done = subprocess.run([*shell, "-c", TAKE, "-", *paths], env=environment, capture_output=True, text=True)
        found.update(done.stdout.splitlines())
    for path in paths:
        try:
            os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
        except OSError:
            continue
        found.add(path)
    return sorted(found)
'''


def forbidden(localaws: RunningLocalAws, *, more: Iterable[Path] = ()) -> list[str]:
    """Return what this test can read and no user's program may: localaws's files, its process, the user's own files."""
    kept = [path for name in ("objects", "processes") for path in sorted((localaws.home / name).rglob("*"))[:3]]
    process = Path("/proc", str(localaws.pid))
    paths = [localaws.home / "server.json", *kept, ROOT / "README.md", ROOT / "tests", *more]
    paths += [process / name for name in ("environ", "root", "cwd", "fd/0")]
    assert all(path.exists() for path in paths), "there is something to find"
    return [str(path) for path in paths if not _may_be_an_own_process(path)]


def _may_be_an_own_process(path: Path) -> bool:
    """Return whether the path is of a process whose number may be another's in a process table of its own."""
    return path.parts[1] == "proc" and int(path.parts[2]) < OWN_NUMBERS


@contextlib.contextmanager
def telling_its_secret() -> Iterator[int]:
    """Run a process with a secret in its command line until the block ends; yield its id."""
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def keeps_signals_inside() -> bool:
    """Return whether this kernel can keep a program's signals from other processes (Landlock's sixth version)."""
    if sys.platform != "linux":
        return False
    version: int = ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), 1)
    return version >= 6
