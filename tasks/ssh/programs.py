"""The commands that are run on the far machine: arguments as data, files taken and given whole.

A file moves by a small Python program that is sent along as its source (receive.py, send.py). Where there
is no python3 in the session's PATH, a shell script with the same contract does it, slower: it hashes after the copy.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

DIFFERS, ENDED_EARLY = 65, 66
"""Exit statuses of a transfer whose sha256 differs, and of one whose input ended early."""

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
    echo "the sha256 of what arrived differs" >&2; exit {DIFFERS}
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


def quoted(command: str | Sequence[str]) -> bytes:
    """Return what the far shell is to read: a string as it is, a sequence as one argument each, whatever they contain.

    Raises:
        ValueError: a NUL, which no argument can carry, or half a surrogate pair, which no bytes stand for.
    """
    text = command if isinstance(command, str) else shlex.join(command)
    if "\0" in text:
        raise ValueError("a NUL cannot be part of a command")
    return text.encode("utf-8", "surrogateescape")


def receive(path: str, size_bytes: int, mode: int) -> list[str]:
    """Return the command that takes content and its sha256 on standard input."""
    return _program("receive.py", _RECEIVE, path, str(size_bytes), f"{mode:o}")


def send(path: str) -> list[str]:
    """Return the command that writes "SIZE MODE", the content and its sha256."""
    return _program("send.py", _SEND, path)


def read_from(path: str, offset: int, limit: int) -> list[str]:
    """Return the command that writes what a file holds from a byte offset on; nothing when there is no such file."""
    return ["sh", "-c", _READ_FROM, "sh", path, str(offset + 1), str(limit)]


def _program(source: str, shell: str, *arguments: str) -> list[str]:
    return ["sh", "-c", _CHOOSE, "sh", (_HERE / source).read_text(), shell, *arguments]
