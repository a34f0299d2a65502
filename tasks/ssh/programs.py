"""Build the commands that run on the remote machine: encode arguments, receive a file, send a file.

A file is transferred by a small Python program, whose source is sent as an argument (receive.py, send.py). If python3
is not in the session's PATH, a shell script with the same contract is used; it is slower, because it computes the
sha256 after the copy.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

DIFFERS, ENDED_EARLY = 65, 66
"""The exit statuses of a transfer whose sha256 differs and of one whose input ended early."""

_HERE = Path(__file__).parent

_CHOOSE = """python=$1 shell=$2; shift 2
if command -v python3 >/dev/null 2>&1; then exec python3 -IS -c "$python" "$@"; fi
eval "$shell"
"""

_RECEIVE = f"""umask 077
beside="$1.$$.part"; trap 'rm -f "$beside"' EXIT; trap 'exit 1' HUP INT TERM; trap '' PIPE
head -c "$2" >"$beside" || exit 1
got=$(wc -c <"$beside")
if [ "$got" -ne "$2" ]; then echo "the input ended after $got of $2 bytes" >&2; exit {ENDED_EARLY}; fi
if [ "$(head -c 64)" != "$(sha256sum <"$beside" | cut -c 1-64)" ]; then
    echo "the sha256 of the received content differs" >&2; exit {DIFFERS}
fi
chmod "$3" "$beside" && sync "$beside" && mv -fT "$beside" "$1"
"""

_SEND = """exec 3<"$1" || exit 1
size=$(stat -L -c %s /dev/fd/3) || exit 1
stat -L -c '%s %a' /dev/fd/3
head -c "$size" /dev/fd/3 || exit 1
sha256sum "$1" | cut -c 1-64 | tr -d '\\n'
"""

_READ_FROM = """[ -e "$1" ] || exit 0
[ -d "$1" ] && { echo "$1 is a folder" >&2; exit 1; }
{ tail -c "+$2" | head -c "$3"; } <"$1"
"""


def encode_command(command: str | Sequence[str]) -> bytes:
    """Return the bytes for the remote shell: a string unchanged, the elements of a sequence as quoted arguments.

    Raises:
        ValueError: the command contains a NUL, or a lone surrogate that cannot be encoded.
    """
    text = command if isinstance(command, str) else shlex.join(command)
    if "\0" in text:
        raise ValueError("a command cannot contain a NUL")
    return text.encode("utf-8", "surrogateescape")


def receive_command(path: str, size_bytes: int, mode: int) -> list[str]:
    """Return the command that reads a file's content and its sha256 from stdin and writes the file."""
    return _program("receive.py", _RECEIVE, path, str(size_bytes), f"{mode:o}")


def send_command(path: str) -> list[str]:
    """Return the command that writes a line "SIZE MODE", a file's content and its sha256 to stdout."""
    return _program("send.py", _SEND, path)


def read_command(path: str, offset: int, limit: int) -> list[str]:
    """Return the command that writes a file's content from a byte offset on; it writes nothing for a missing file."""
    return ["sh", "-c", _READ_FROM, "sh", path, str(offset + 1), str(limit)]


def _program(source: str, shell: str, *arguments: str) -> list[str]:
    return ["sh", "-c", _CHOOSE, "sh", (_HERE / source).read_text(), shell, *arguments]
