"""What functions, models and training scripts try in order to get at what is not theirs, and what they must not get."""

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from localaws.programs.call_filter import CLONE
from localaws.programs.container import CALLS
from tests.conftest import ROOT, RunningLocalAws

OWN_NUMBERS = 1000
"""More than the processes that a program under test starts."""
SECRET = "http://user:secret@example.com/data.zip"
CONTROLS = {machine: keys[2] for machine, (_, keys, _) in CALLS.items()}
"""The number of keyctl, by the processor's name."""
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
def grabbed(kept):
    """Return what can be had of the user's memory, messages, keys, devices and free ports."""
    import ctypes, socket
    library, found = ctypes.CDLL(None), []
    control = CONTROLS.get(os.uname().machine)
    def key(*arguments):
        return library.syscall(ctypes.c_long(control), *arguments) >= 0
    def done(call, *arguments):
        try:
            call(*arguments)
        except OSError:
            return False
        return True
    def bound(family, protocol):
        with socket.socket(family, socket.SOCK_STREAM, protocol) as taken:
            taken.bind(("127.0.0.1" if family == socket.AF_INET else "::1", kept["port"]))
    number, name = kept["number"], kept["name"].encode()
    found += ["shared memory"] * (library.shmget(number, 0, 0) >= 0)
    found += ["messages"] * (library.msgget(number, 0) >= 0)
    found += ["semaphores"] * (library.semget(number, 0, 0) >= 0)
    found += ["a POSIX queue"] * (library.mq_open(name, os.O_RDONLY) >= 0)
    if control is not None:
        key(1, None)
        found += ["a keyring"] * (key(8, kept["keyring"], -3) or key(0, -3, 0))
        found += ["a key"] * key(11, kept["key"], ctypes.create_string_buffer(64), ctypes.c_size_t(64))
    for path in ("/proc/keys", "/proc/key-users"):
        found += [path] * (os.path.exists(path) and bool(open(path).read()))
    for path in ("/dev/null", "/dev/zero", "/dev/urandom"):
        found += [path] * (done(os.chmod, path, 0o666) or done(os.utime, path))
        open(path, "rb").close()
    open("/dev/null", "w").write("x")
    def listening(*options):
        with socket.socket() as taken:
            for option in options:
                taken.setsockopt(*option)
            taken.listen()
    port = kept["port"]
    chosen = socket.SOL_IP, 51, (port << 16 | port).to_bytes(4, sys.byteorder)  # IP_LOCAL_PORT_RANGE
    found += ["a chosen port"] * done(listening, chosen)
    found += ["another machine"] * done(lambda: socket.socket(40, socket.SOCK_STREAM).close())  # AF_VSOCK
    families = (socket.AF_INET, socket.AF_INET6)
    found += ["a port" for each in families for protocol in (0, 262) if done(bound, each, protocol)]
    return sorted(set(found))
def nested():
    """Return which namespaces can be taken, and whether a group of processes that ends together can be seen."""
    import ctypes
    library, found = ctypes.CDLL(None), []
    kinds = {"user": 0x10000000, "mount": 0x20000, "cgroup": 0x2000000, "network": 0x40000000, "process": 0x20000000}
    for name, flag in kinds.items():
        for flags in (flag, flag | 0x10000000):
            child = os.fork()
            if child == 0:
                os._exit(library.unshare(flags) != 0)
            found += [name] * (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
            child = library.syscall(ctypes.c_long(CLONES[os.uname().machine]), flags | 17, None, None, None, None)
            if child == 0:
                os._exit(0)
            found += [name + " by clone"] * (child > 0)
    arguments = (flag.to_bytes(8, sys.byteorder) + bytes(24) + (17).to_bytes(8, sys.byteorder) + bytes(48), 88)
    found += ["clone3"] * (library.syscall(ctypes.c_long(435), *arguments) >= 0)
    found += ["groups"] * (library.mount(b"none", b"/tmp", b"cgroup2", 0, b"") == 0)
    found += ["an old mount"] * (library.mount(b"none", b"/tmp", b"tmpfs", 0, b"") == 0)
    found += ["a new mount"] * (library.syscall(ctypes.c_long(430), b"tmpfs", 0) >= 0)
    return sorted(set(found))
'''
PRY += f"CONTROLS, CLONES = {CONTROLS}, {CLONE}\n"


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


@contextlib.contextmanager
def kept() -> Iterator[dict[str, int | str]]:
    """Make what `grabbed` looks for, as the user's: memory, messages, keys; `port` is one that is free."""
    library, name, number = ctypes.CDLL(None), f"/kennel-{secrets.token_hex(4)}", secrets.randbelow(1 << 30) + 1
    create = os.O_CREAT
    made = [library.shmget(number, 16, 0o1600), library.msgget(number, 0o1600), library.semget(number, 1, 0o1600)]
    queue = library.mq_open(name.encode(), create | os.O_RDWR, 0o600, None)
    key, keyring = _key(name), _control(0, -4, 0)
    try:
        assert min(*made, queue) >= 0, "there is something to find"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        yield {"number": number, "name": name, "key": key, "keyring": keyring, "port": port}
    finally:
        library.shmctl(made[0], 0, None)
        library.msgctl(made[1], 0, None)
        library.semctl(made[2], 0, 0)
        os.close(queue)
        library.mq_unlink(name.encode())
        _control(9, key, -4)


def _key(name: str) -> int:
    """Add a key to the user's keyring; return its number, or -1 where there are no keys."""
    numbers = CALLS.get(os.uname().machine)
    add = ctypes.CDLL(None).syscall
    return int(add(ctypes.c_long(numbers[1][0]), b"user", name.encode(), b"secret", 6, -4)) if numbers else -1


def _control(*arguments: int) -> int:
    number = CONTROLS.get(os.uname().machine)
    return -1 if number is None else int(ctypes.CDLL(None).syscall(ctypes.c_long(number), *arguments))


def keeps_signals_inside() -> bool:
    """Return whether this kernel can keep a program's signals from other processes (Landlock's sixth version)."""
    return _landlock() >= 6


def keeps_ports() -> bool:
    """Return whether this kernel can keep a program from taking a port (Landlock's fourth version)."""
    return _landlock() >= 4


def _landlock() -> int:
    if sys.platform != "linux":
        return 0
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), 1))
