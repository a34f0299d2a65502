"""Runs on the far machine, sent there as its source: takes a file on standard input, whole or not at all.

    python3 -c SOURCE TARGET SIZE MODE <(content, then the 64 hex digits of its sha256)

Writes beside the target, compares size and sha256, makes it durable, and only then gives it its name. Ends with 65 when
the sha256 differs and with 66 when the input ended early. Standard library only, Python 3.8 or later.
"""

# pathlib and contextlib take longer to import than all the rest.
# ruff: noqa: PTH104, PTH108, PTH110, SIM105

import fcntl
import os
import sys

DIFFERS, ENDED_EARLY = 65, 66
PIECE_BYTES = 2**20
F_SETPIPE_SZ = 1031


def widen(descriptor: int) -> None:
    """Let the pipe from sshd hold 1 MiB instead of 64 KiB: sshd passes on what fits, then waits until it is taken."""
    try:
        fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIECE_BYTES)
    except OSError:
        pass  # not a pipe, or beyond this user's share: slower, not wrong


def take(descriptor: int, size: int) -> str:
    """Copy `size` bytes from standard input to a file; return their sha256, or end."""
    import hashlib  # only now: while it loads, the wide pipe fills

    sha256, piece, left = hashlib.sha256(), memoryview(bytearray(PIECE_BYTES)), size
    while left:
        count = os.readv(0, [piece[: min(left, PIECE_BYTES)]])
        if not count:
            sys.exit(fail(ENDED_EARLY, f"the input ended after {size - left} of {size} bytes"))
        sha256.update(piece[:count])
        written = 0
        while written < count:
            written += os.write(descriptor, piece[written:count])
        left -= count
    return sha256.hexdigest()


def fail(status: int, why: str) -> int:
    """Say why on standard error; return the status to end with."""
    print(why, file=sys.stderr)
    return status


def main(target: str, size: int, mode: int) -> int:
    """Receive one file; return the status to end with."""
    widen(0)
    beside = f"{target}.{os.getpid()}.part"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        sha256 = take(descriptor, size)
        if os.read(0, 64).decode() != sha256:
            return fail(DIFFERS, "the sha256 of what arrived differs")
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        os.rename(beside, target)
    finally:
        os.close(descriptor)
        if os.path.exists(beside):
            os.unlink(beside)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 8)))
    except OSError as error:
        sys.exit(fail(1, f"{error.filename or sys.argv[1]}: {error.strerror}"))
