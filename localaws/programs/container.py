"""Puts a program into a container: carries out a plan of mounts and then becomes the program.

Run as a script, `python -I -S container.py CONFIG`, and it imports next to nothing: it is part of every cold start.
CONFIG is a dictionary, marshalled, in hexadecimal digits: `plan` (see `carry_out`), None without namespaces; `folder`,
where the command begins; `command`; `output`, a file for what it prints, or None. The command's variables come in a
file (`take_variables`). Network, process table and user are the server's; from Linux 6.12 on, the program can send
signals to nothing but what it starts.
"""

import ctypes
import marshal
import os
import sys
from _collections_abc import Callable, Mapping, Sequence  # loaded already, unlike collections

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_SETATTR = -100, 0x8000, 442
LANDLOCK_CREATE, LANDLOCK_RESTRICT, PR_SET_NO_NEW_PRIVS = 444, 446, 38
SCOPES = bytes(16) + (0b11).to_bytes(8, sys.byteorder)  # no file or network rules; abstract sockets and signals
MARKS, VARIABLES = "LOCALAWS_", "LOCALAWS_VARIABLES"
READ_ONLY = (1).to_bytes(8, sys.byteorder) + bytes(24)

Operation = Sequence[str | int | None]


def main(arguments: Sequence[str]) -> int:
    """Become the command; return only if it cannot be run."""
    config = marshal.loads(bytes.fromhex(arguments[0]))  # noqa: S302 the server's own
    variables = take_variables()
    if config["output"] is not None:
        output = os.open(config["output"], os.O_WRONLY | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
    if config["plan"] is not None:
        user = os.geteuid()
        take_namespaces(0, user, os.getegid())
        carry_out(config["plan"])
        take_namespaces(user, 0, 0)
        keep_signals_inside()
    return become(config["command"], config["folder"], variables)


def take_namespaces(inside: int, user: int, group: int) -> None:
    """Take a user namespace in which this process is `inside`, and a mount namespace that belongs to it.

    What was mounted before in a namespace of another owner can then neither be taken away nor made writable.
    """
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
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


def keep_signals_inside() -> None:
    """Let signals and abstract sockets reach only what this process starts; an older kernel refuses, which is no harm.

    Source: https://docs.kernel.org/userspace-api/landlock.html#ipc-scoping
    """
    rules = LIBRARY.syscall(ctypes.c_long(LANDLOCK_CREATE), SCOPES, ctypes.c_size_t(len(SCOPES)), 0)
    if rules >= 0:
        _call("prctl", PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
        _call("syscall", ctypes.c_long(LANDLOCK_RESTRICT), rules, 0)
        os.close(rules)


def take_variables() -> dict[str, str]:
    """Return the command's environment: the server's marks and what the open file VARIABLES, closed then, holds."""
    descriptor = os.environ.pop(VARIABLES, None)
    if descriptor is None:
        return dict(os.environ)
    with open(int(descriptor), "rb") as file:  # noqa: PTH123 as above
        variables = marshal.load(file)  # noqa: S302 the server's own
    return {**variables, **{name: value for name, value in os.environ.items() if name.startswith(MARKS)}}


def become(command: Sequence[str], folder: str, variables: Mapping[str, str]) -> int:
    """Replace this process by the command with exactly these variables; return what a shell would if it cannot be."""
    try:
        os.chdir(folder)
        os.execvpe(command[0], list(command), variables)  # noqa: S606 the program that was asked for
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
        shown = b" ".join(each for each in arguments if isinstance(each, bytes) and each != READ_ONLY).decode()
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

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
