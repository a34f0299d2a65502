"""Starts one host of a training job as a container would, and the network that the job's hosts share.

Run as a program of its own with the standard library only (`python -I -S training_launcher.py network|host JSON`):

- `network` makes a user and a network namespace for one job. Its loopback is the job's alone, so that two jobs may both
  use port 7777; connections to localaws's own port are carried out of it. Prints `ready PID`: the process whose
  namespaces the hosts join.
- `host` joins them, adds mount, process and host-name namespaces of its own, puts the host's folder at /opt/ml (what
  else is in /opt stays), one for its home and temporary files at /opt/localaws
  and the job's names in /etc/hosts, and runs the command. When the command ends, so does
  everything that it started.

SIGTERM reaches the processes of the command that handle it; if none does, the host ends at once. A process that does
not handle it is left running, as the first process of a container is. Touches nothing outside its namespaces.
"""

import array
import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000,
    0x04000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
RELAY_BYTES = 1 << 16


def main(arguments: list[str]) -> int:
    """Run as a network or as a host; return the exit status. Ends with the thread that started it, on Linux."""
    if sys.platform == "linux":
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    mode, config = arguments[0], json.loads(arguments[1])
    return run_network(config) if mode == "network" else run_host(config)


# --- the job's network ------------------------------------------------------------------------------------------------


def run_network(config: dict[str, Any]) -> int:
    """Hold the namespaces until killed; carry connections to `address` (None: to nowhere) out of them."""
    address = tuple(config["address"]) if config["address"] else None
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    holder = os.fork()
    if holder == 0:
        ours.close()
        _die_with(parent)
        _hold(theirs, address)
        os._exit(0)
    theirs.close()
    signal.signal(signal.SIGTERM, lambda *_: _end(holder))
    _, descriptors = _receive_descriptor(ours)
    print(f"ready {holder}", flush=True)
    if address and descriptors:
        _relay(socket.socket(fileno=descriptors[0]), address)
    os.waitpid(holder, 0)
    return 1


def _end(holder: int) -> None:
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    os._exit(0)


def _hold(channel: socket.socket, address: tuple[str, int] | None) -> None:
    user, group = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _bring_up("lo")
    if address is None:
        channel.send(b"r")
    else:
        listener = socket.create_server(address, backlog=256)
        channel.sendmsg([b"r"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
        listener.close()
    channel.recv(1)


def _receive_descriptor(channel: socket.socket) -> tuple[bytes, list[int]]:
    message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not message:
        raise SystemExit("the job's network namespace could not be made (see the line above)")
    return message, descriptors


def _relay(listener: socket.socket, address: tuple[str, int]) -> None:
    while True:
        inside, _ = listener.accept()
        threading.Thread(target=_carry, args=(inside, address), daemon=True).start()


def _carry(inside: socket.socket, address: tuple[str, int]) -> None:
    with inside, contextlib.suppress(OSError), socket.create_connection(address) as outside:
        for end in (inside, outside):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other = {inside: outside, outside: inside}
        reading = [inside, outside]
        while reading:
            for source in select.select(reading, [], [])[0]:
                data = source.recv(RELAY_BYTES)
                if data:
                    other[source].sendall(data)
                else:
                    reading.remove(source)
                    other[source].shutdown(socket.SHUT_WR)


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", interface.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | IFF_UP))


# --- one host ---------------------------------------------------------------------------------------------------------


def run_host(config: dict[str, Any]) -> int:
    """Run `config["command"]` in a host of its own; return its exit status, 128 + n when signal n ended it."""
    if config["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, config["cpus"])
    if config["network_pid"] is None:
        return _supervise(config)
    _enter_namespaces(config)
    signal.signal(signal.SIGTERM, _forget_signal)
    first = os.fork()
    if first == 0:
        os._exit(_first_process(config))
    return _exit_status(os.waitpid(first, 0)[1])


def _forget_signal(*_: object) -> None:
    """The first process inside gets the signal as well: it has the same process group."""


def _enter_namespaces(config: dict[str, Any]) -> None:
    for kind in ("user", "net"):
        with Path(f"/proc/{config['network_pid']}/ns/{kind}").open() as namespace:
            _call("setns", namespace.fileno(), 0)
    _call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID)
    socket.sethostname(config["name"])
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _place_folders(Path(config["root"]) / "opt", {"ml": config["ml"], "localaws": config["private"]})
    _mount(config["hosts_file"], "/etc/hosts", None, MS_BIND)


def _place_folders(staging: Path, folders: dict[str, str]) -> None:
    """Make /opt anew: `folders` by name, and whatever else it holds."""
    staging.mkdir()
    _mount("none", str(staging), "tmpfs", MS_NOSUID | MS_NODEV)
    for entry in Path("/opt").iterdir():
        if entry.name not in folders:
            _show(entry, staging / entry.name)
    for name, folder in folders.items():
        (staging / name).mkdir()
        _mount(folder, str(staging / name), None, MS_BIND)
    _mount(str(staging), "/opt", None, MS_BIND | MS_REC)


def _show(entry: Path, place: Path) -> None:
    if entry.is_symlink():
        place.symlink_to(entry.readlink())
        return
    if entry.is_dir():
        place.mkdir()
    else:
        place.touch()
    _mount(str(entry), str(place), None, MS_BIND | MS_REC)


def _first_process(config: dict[str, Any]) -> int:
    """Be process 1 of the host: when it ends, the kernel ends all others."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    return _supervise(config)


# --- both ways --------------------------------------------------------------------------------------------------------


def _supervise(config: dict[str, Any]) -> int:
    """Start the command in a session of its own, reap what it leaves, hand it SIGTERM; return its exit status."""
    if sys.platform == "linux":
        _call("prctl", PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main_process = os.fork()
    if main_process == 0:
        _become(config)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on_termination(main_process))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while True:
        ended, status = os.wait()
        if ended == main_process:
            return _exit_status(status)


def _become(config: dict[str, Any]) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.chdir(config["working_folder"])
        os.execvp(config["command"][0], config["command"])  # noqa: S606 the job's own entry point
    except OSError as error:
        print(f"{config['command'][0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def _pass_on_termination(session: int) -> None:
    handling = [pid for pid in _session_members(session) if _handles_sigterm(pid)]
    if not handling:
        with contextlib.suppress(ProcessLookupError):
            os.kill(session, signal.SIGKILL)
    for pid in handling:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _session_members(session: int) -> Iterable[int]:
    if sys.platform != "linux":
        return [session]
    members = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 pathlib would cost a stat a process
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.getsid(int(entry)) == session:
                members.append(int(entry))
    return members


def _handles_sigterm(pid: int) -> bool:
    if sys.platform != "linux":
        return True
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _die_with(parent: int) -> None:
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind else None
    _call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), None, what=f"mount {target}")


def _call(name: str, *arguments: Any, what: str = "") -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{what or name}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
