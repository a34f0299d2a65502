"""System calls for namespaces and mounts that Python has no functions for. Linux only."""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
OF_A_MACHINE = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
"""What each instance and each training host has of its own; their users and networks are told apart otherwise."""
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_SETATTR = -100, 0x8000, 1, 442  # the last: the same on every processor
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def call(name: str, *arguments: Any, what: str = "") -> None:
    """Call a function of the C library.

    Raises:
        OSError: it did not return 0; the message names `what` or the function.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{what or name}: {os.strerror(ctypes.get_errno())}")


def unshare(flags: int) -> None:
    """Give this process new namespaces."""
    call("unshare", flags)


def enter(namespace: int, kind: int = 0) -> None:
    """Join the namespace behind an open descriptor; `kind` 0 takes whichever it is."""
    call("setns", namespace, kind)


def map_user(inside: int, *, outside_user: int, outside_group: int) -> None:
    """Have `inside` be the one user and group that this process's new user namespace knows."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {outside_user} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {outside_group} 1")


def unshare_network() -> None:
    """Give this process a network of its own, and a user namespace in which it is root and owns that network."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    map_user(0, outside_user=user, outside_group=group)


@contextlib.contextmanager
def inside_network(namespace: int) -> Iterator[None]:
    """Be in another network namespace for a while: sockets that are made there stay there."""
    with Path("/proc/self/ns/net").open() as home:
        enter(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            enter(home.fileno(), CLONE_NEWNET)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount a file system, or bind a path where `flags` has MS_BIND."""
    encoded, data = kind.encode() if kind else None, options.encode() if options else None
    call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), data, what=f"mount {target}")


def unmount(target: str) -> None:
    """Detach a mount and all below it."""
    call("umount2", target.encode(), MNT_DETACH, what=f"unmount {target}")


def make_read_only(path: str) -> None:
    """Refuse writes to a mount and all below it, from here only (Linux 5.12)."""
    attributes = ctypes.create_string_buffer(struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0))
    arguments = (ctypes.c_long(MOUNT_SETATTR), AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, ctypes.c_size_t(32))
    call("syscall", *arguments, what=f"make {path} read-only")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, its parent, ends."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (parent, 0):  # 0: the parent is outside of this process namespace
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs."""
    call("prctl", PR_SET_CHILD_SUBREAPER, 1)


def bring_up(interface: str) -> None:
    """Switch a network interface on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", interface.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | IFF_UP))


def exit_status(status: int) -> int:
    """Return what a shell would: the exit status, or 128 + n when signal n ended the process."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
