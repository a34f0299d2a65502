"""Puts a program into a container: carries out a plan of mounts, takes a process table, and starts the program in it.

Run as `python -I -S -c START FOLDER`, and it imports next to nothing: it is part of every cold start. What it is to do
comes in a file (`take_over`): `plan` and `guard` (see `carry_out`), None without namespaces; `folder`, where the
command begins; `command`; `variables`, its environment; `output`, a file for what it prints, or None; `inherited`,
descriptors that are the program's; `filter`, of its calls; `told`, None without a process table. Network and user are
the server's; System V's and POSIX's shared memory and messages are the container's own, and so end with it. What else
is kept from the program is in `confine`.

With a process table there are three processes. This one stays outside: it hands SIGTERM on and ends as the program did.
Its child is process 1 inside. When that ends, the kernel ends all others inside; it does when the program has ended,
when this process has, and when the server has, whose end of the pipe at 1 is closed then. The program is the child of
process 1; its id outside is written to the pipe `told`.
"""

from __future__ import annotations

import ctypes
import fcntl
import marshal
import os
import select
import struct  # loaded by ctypes
import sys
from _collections_abc import Callable, Mapping, Sequence  # loaded already, unlike collections

TYPE_CHECKING = False  # typing and signal, which imports enum, take longer than all the mounts
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn
else:
    import _signal as signal

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
READY = b"+"
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_SETATTR = -100, 0x8000, 442
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT, PR_SET_NO_NEW_PRIVS = 444, 445, 446, 38
LANDLOCK_VERSION, BIND_TCP, CONNECT_TCP, SCOPES = 1, 0b1, 0b10, 0b11  # the scopes: abstract sockets and signals
LANDLOCK_PORT = 2  # a rule about a port
PORTS_SINCE, SCOPES_SINCE = 4, 6  # versions of Landlock: Linux 6.7 and 6.12
PR_SET_SECCOMP, SECCOMP_FILTER = 22, 2
KEYCTL_JOIN = 1
CALLS = {  # a processor's name to the kernel, and its numbers of add_key, request_key, keyctl and socket
    "x86_64": (0xC000003E, (248, 249, 250), 41),
    "aarch64": (0xC00000B7, (217, 218, 219), 198),
}
MARKS, HANDOVER = "LOCALAWS_", "LOCALAWS_HANDOVER"
STATUS_BYTES = 4
STREAMS = (0, 1, 2)
READ_ONLY = (1).to_bytes(8, sys.byteorder) + bytes(24)

Operation = Sequence[str | int | None]


def main() -> int:
    """Become the command or start it, and return its exit status; return also if it cannot be run."""
    config = take_over()
    server = os.dup(1)
    if config["output"] is not None:
        output = os.open(config["output"], os.O_WRONLY | os.O_APPEND)
        for stream in STREAMS[1:]:
            os.dup2(output, stream)
        os.close(output)
    if config["plan"] is None:
        return become(config)
    user = os.geteuid()
    take_namespaces(0, user, os.getegid(), kinds=CLONE_NEWIPC | (0 if config["told"] is None else CLONE_NEWPID))
    carry_out(config["plan"])
    if config["told"] is None:
        carry_out(config["guard"])
        return become_confined(config, user)
    return supervise(config, user, server)


def supervise(config: Mapping[str, Any], user: int, server: int) -> int:
    """Start process 1, hand SIGTERM on to its program, wait for the end of that or of the server; end as it did."""
    os.set_inheritable(config["told"], False)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    reading, report = os.pipe()
    first = os.fork()
    if first == 0:
        _be_first(config, user, report, parents=(reading, server))
    os.close(report)
    if os.read(reading, len(READY)) != READY:
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    program = fcntl.fcntl(config["told"], fcntl.F_GETOWN)
    if program > 0:  # 0: it has ended
        os.write(config["told"], b"%d" % program)
    _close(*STREAMS, config["told"], *config["inherited"])  # a socket to listen on is the program's alone
    signal.signal(signal.SIGTERM, lambda *_: _terminate(program))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    _wait_for_either(reading, server)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    return end_as(os.read(reading, STATUS_BYTES))


def _be_first(config: Mapping[str, Any], user: int, report: int, *, parents: Sequence[int]) -> NoReturn:
    """Be process 1: start the program, reap what loses its parent, report the program's end."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # for process 1: nothing happens
        enter_process_table(config["guard"])
        program = os.fork()
        if program == 0:
            os.setpgid(0, 0)  # of its own, for SIGTERM; the session, by which the kernel shares out time, is kept
            os._exit(become_confined(config, user))
        fcntl.fcntl(config["told"], fcntl.F_SETOWN, program)  # who reads it, reads the id in his own namespace
        _close(*STREAMS, config["told"], *config["inherited"], *parents)
        os.write(report, READY)  # fails if the parent ended before this process was to end with it
        while (ended := os.wait())[0] != program:
            pass
        os.write(report, ended[1].to_bytes(STATUS_BYTES, sys.byteorder))
    except BaseException as error:  # noqa: BLE001 a forked child must not go on as its parent
        print(error, file=sys.stderr, flush=True)
    os._exit(1)


def enter_process_table(guard: Sequence[Operation]) -> None:
    """As process 1 of a namespace: end with the parent, and have /proc show only this namespace's processes.

    Raises:
        OSError: the kernel refuses it, as it does where a part of /proc is covered.
    """
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    carry_out(guard)


def end_as(status: bytes) -> int:
    """Return the exit status of a program, or end by the signal that ended it; without a status, that was SIGKILL."""
    code = os.waitstatus_to_exitcode(int.from_bytes(status, sys.byteorder)) if status else -signal.SIGKILL
    if code < 0:
        LIBRARY.prctl(PR_SET_DUMPABLE, 0)  # the program has left its core, if any
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _terminate(program: int) -> None:
    for send in (os.killpg, os.kill) if program > 0 else ():  # its group, unless it has none yet
        try:
            send(program, signal.SIGTERM)
        except OSError:
            continue
        return


def _wait_for_either(reading: int, server: int) -> None:
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(server, 0)  # the other end of the pipe is closed: an error, which is always told
    poll.poll()


def _close(*descriptors: int) -> None:
    for each in descriptors:
        os.close(each)


def take_namespaces(inside: int, user: int, group: int, *, kinds: int = 0) -> None:
    """Take a user namespace in which this process is `inside`, and a mount namespace and `kinds` that belong to it.

    What was mounted before in a namespace of another owner can then neither be taken away nor made writable.
    """
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNS | kinds)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {user} 1"), ("gid_map", f"{inside} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 pathlib takes longer than all the mounts
            file.write(text)


def carry_out(plan: Sequence[Operation]) -> None:
    """Do what the plan says, in its order; paths are relative once a folder is entered.

    Raises:
        OSError: the kernel refuses something; the message says what.
    """
    for name, *arguments in plan:
        OPERATIONS[str(name)](*arguments)


def confine(filtered: bytes | None, port: int | None) -> None:
    """Keep from this process, and what it starts, what has no namespace: others' signals and ports, the user's keys.

    `port`: the only one that it may connect to by TCP; None: it may connect to any.
    """
    _keep_inside(port)
    refuse_calls(filtered)


def _keep_inside(port: int | None) -> None:
    """Let signals and abstract sockets reach only what this process starts, and let it bind no TCP port.

    An older kernel knows one of them or none, which is no harm.
    Source: https://docs.kernel.org/userspace-api/landlock.html
    """
    create = ctypes.c_long(LANDLOCK_CREATE)
    version = LIBRARY.syscall(create, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    if version < PORTS_SINCE:
        return
    access = BIND_TCP if port is None else BIND_TCP | CONNECT_TCP
    handled = struct.pack("=QQQ", 0, access, SCOPES)[: 24 if version >= SCOPES_SINCE else 16]
    rules = LIBRARY.syscall(create, handled, ctypes.c_size_t(len(handled)), 0)
    if port is not None:
        allowed = struct.pack("=QQ", CONNECT_TCP, port)
        _call("syscall", ctypes.c_long(LANDLOCK_ADD_RULE), rules, LANDLOCK_PORT, allowed, 0)
    _call("prctl", PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    _call("syscall", ctypes.c_long(LANDLOCK_RESTRICT), rules, 0)
    os.close(rules)


def refuse_calls(filtered: bytes | None) -> None:
    """Have the kernel run a filter of `call_filter.py` at each call; None refuses nothing.

    To be called as root of a user namespace, or by who gets no new privileges.
    """
    if filtered is not None:
        steps = ctypes.create_string_buffer(filtered, len(filtered))
        given = struct.pack("@HP", len(filtered) // 8, ctypes.addressof(steps))
        _call("prctl", PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_FILTER), given)


def join_own_keyring() -> None:
    """Leave the user's session keyring for an empty one, which all that this process starts has too.

    Once for all programs, since a user may have 200 keys. Without keyrings, or with no room for one, nothing happens.
    """
    if sys.platform == "linux" and os.uname().machine in CALLS:
        LIBRARY.syscall(ctypes.c_long(CALLS[os.uname().machine][1][2]), KEYCTL_JOIN, None)


def take_over() -> dict[str, Any]:
    """Return what the open file HANDOVER, closed then, holds; to its `variables`, the server's marks are added.

    Without the file, they are this process's.
    """
    descriptor = os.environ.pop(HANDOVER, None)
    if descriptor is None:
        return {"variables": dict(os.environ)}
    with open(int(descriptor), "rb") as file:  # noqa: PTH123 as above
        content: dict[str, Any] = marshal.load(file)  # noqa: S302 the server's own
    marks = {name: value for name, value in os.environ.items() if name.startswith(MARKS)}
    return {**content, "variables": {**content["variables"], **marks}}


def become_confined(config: Mapping[str, Any], user: int) -> int:
    """Become the command as the server's user, in namespaces in which nothing of the plan can be undone."""
    take_namespaces(user, 0, 0)
    confine(config["filter"], config["port"])
    return become(config)


def become(config: Mapping[str, Any]) -> int:
    """Replace this process by `command`, in `folder`, with exactly `variables`; return what a shell would if not."""
    command = config["command"]
    try:
        os.chdir(config["folder"])
        os.execvpe(command[0], command, config["variables"])  # noqa: S606 the program that was asked for
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127


def _folder(path: str, mode: int) -> None:
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 as above
    os.chmod(path, mode)  # noqa: PTH101


def _file(path: str) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _link(target: str, path: str) -> None:
    if not os.path.lexists(path):
        os.symlink(target, path)  # noqa: PTH211


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    encoded, data = kind.encode() if kind else None, options.encode() if options else None
    _call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), data)


def _cover(target: str, flags: int, options: str) -> None:
    if os.path.isdir(target):  # noqa: PTH112
        _mount("none", target, "tmpfs", flags, options)


def _make_read_only(path: str) -> None:
    arguments = (ctypes.c_long(MOUNT_SETATTR), AT_FDCWD, path.encode(), AT_RECURSIVE, READ_ONLY, ctypes.c_size_t(32))
    _call("syscall", *arguments)


def _become_root() -> None:
    _call("pivot_root", b".", b".")
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def _call(name: str, *arguments: object) -> None:
    if getattr(LIBRARY, name)(*arguments) != 0:
        texts = (each for each in arguments if isinstance(each, bytes) and b"\0" not in each)
        shown = b" ".join(texts).decode()
        raise OSError(ctypes.get_errno(), f"{name} {shown}: {os.strerror(ctypes.get_errno())}")


LIBRARY = ctypes.CDLL(None, use_errno=True)
OPERATIONS: dict[str, Callable[..., None]] = {
    "folder": _folder,
    "file": _file,
    "link": _link,
    "mount": _mount,
    "cover": _cover,
    "read-only": _make_read_only,
    "enter": os.chdir,
    "become root": _become_root,
}
