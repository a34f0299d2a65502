"""Runs on the far machine, sent there as its source: writes a file to standard output, so that its end can be checked.

    python3 -c SOURCE FILE > (a line "SIZE MODE", SIZE bytes, the 64 hex digits of their sha256)

Sends as many bytes as the file had when it was opened, and ends with 66 when it has become shorter. Standard library
only, Python 3.8 or later.
"""

# pathlib and contextlib take longer to import than all the rest.
# ruff: noqa: PTH123, SIM105

import fcntl
import hashlib
import os
import sys

ENDED_EARLY = 66
PIECE_BYTES = 2**20
F_SETPIPE_SZ = 1031


def widen(descriptor: int) -> None:
    """Let the pipe to sshd hold 1 MiB instead of 64 KiB."""
    try:
        fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIECE_BYTES)
    except OSError:
        pass  # not a pipe, or beyond this user's share: slower, not wrong


def give(data: memoryview) -> None:
    """Write all of it to standard output."""
    while data:
        data = data[os.write(1, data) :]


def main(path: str) -> int:
    """Send one file; return the status to end with."""
    widen(1)
    with open(path, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        give(memoryview(f"{found.st_size} {found.st_mode & 0o777:o}\n".encode()))
        sha256, piece, left = hashlib.sha256(), memoryview(bytearray(PIECE_BYTES)), found.st_size
        while left:
            count = file.readinto(piece[: min(left, PIECE_BYTES)])
            if not count:
                print(f"{path} became shorter while it was read", file=sys.stderr)
                return ENDED_EARLY
            sha256.update(piece[:count])
            give(piece[:count])
            left -= count
    give(memoryview(sha256.hexdigest().encode()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except OSError as error:
        print(f"{error.filename or sys.argv[1]}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
