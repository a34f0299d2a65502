"""Receive a file on stdin and write it atomically. kennel runs this program's source on the remote machine.

    python3 -c SOURCE TARGET SIZE MODE <(content, then the 64 hex digits of its sha256)

The content is written to a temporary file next to the target; after size and sha256 are verified and the file is
fsynced, it is renamed to the target. The exit status is 65 if the sha256 differs and 66 if the input ended early. The
program needs Python 3.8 or later and only the standard library.
"""

# Importing pathlib and contextlib would take longer than everything else.
# ruff: noqa: PTH104, PTH108, PTH110, SIM105

import fcntl
import os
import sys

DIFFERS, ENDED_EARLY = 65, 66
PIECE_BYTES = 2**20
F_SETPIPE_SZ = 1031


def widen_pipe(descriptor: int) -> None:
    """Enlarge the pipe from sshd from 64 KiB to 1 MiB, because sshd waits whenever the pipe is full."""
    try:
        fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIECE_BYTES)
    except OSError:
        pass  # stdin is not a pipe, or the user's limit is reached; the transfer is only slower


def copy_input(descriptor: int, size: int) -> str:
    """Copy `size` bytes from stdin to a file and return their sha256; exit if stdin ends early."""
    import hashlib  # imported here, because the enlarged pipe fills while it loads

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
    """Print the reason to stderr and return the exit status."""
    print(why, file=sys.stderr)
    return status


def main(target: str, size: int, mode: int) -> int:
    """Receive one file and return the exit status."""
    widen_pipe(0)
    temporary = f"{target}.{os.getpid()}.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        sha256 = copy_input(descriptor, size)
        if os.read(0, 64).decode() != sha256:
            return fail(DIFFERS, "the sha256 of the received content differs")
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        os.rename(temporary, target)
    finally:
        os.close(descriptor)
        if os.path.exists(temporary):
            os.unlink(temporary)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 8)))
    except OSError as error:
        sys.exit(fail(1, f"{error.filename or sys.argv[1]}: {error.strerror}"))
