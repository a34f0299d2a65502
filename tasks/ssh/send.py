"""Send a file to stdout with its size and sha256. kennel runs this program's source on the remote machine.

    python3 -c SOURCE FILE > (a line "SIZE MODE", SIZE bytes, the 64 hex digits of their sha256)

The program sends as many bytes as the file had when it was opened; the exit status is 66 if the file has become
shorter. It needs Python 3.8 or later and only the standard library.
"""

# Importing pathlib and contextlib would take longer than everything else.
# ruff: noqa: PTH123, SIM105

import fcntl
import hashlib
import os
import sys

ENDED_EARLY = 66
PIECE_BYTES = 2**20
F_SETPIPE_SZ = 1031


def widen_pipe(descriptor: int) -> None:
    """Enlarge the pipe to sshd from 64 KiB to 1 MiB."""
    try:
        fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIECE_BYTES)
    except OSError:
        pass  # stdout is not a pipe, or the user's limit is reached; the transfer is only slower


def write_all(data: memoryview) -> None:
    """Write all of `data` to stdout."""
    while data:
        data = data[os.write(1, data) :]


def main(path: str) -> int:
    """Send one file and return the exit status."""
    widen_pipe(1)
    with open(path, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        write_all(memoryview(f"{found.st_size} {found.st_mode & 0o777:o}\n".encode()))
        sha256, piece, left = hashlib.sha256(), memoryview(bytearray(PIECE_BYTES)), found.st_size
        while left:
            count = file.readinto(piece[: min(left, PIECE_BYTES)])
            if not count:
                print(f"{path} became shorter while it was read", file=sys.stderr)
                return ENDED_EARLY
            sha256.update(piece[:count])
            write_all(piece[:count])
            left -= count
    write_all(memoryview(sha256.hexdigest().encode()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except OSError as error:
        print(f"{error.filename or sys.argv[1]}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
