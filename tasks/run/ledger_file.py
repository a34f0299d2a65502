"""Append sealed lines to a ledger's file, and find out which of its lines are as they were written.

Each line ends in `"digest"`: the sha256 of the digest of the line before it and of the line's own bytes. So a line that
was changed, removed, added or moved is found, with its number. A file that was cut at its end looks whole; therefore
the number of lines and the last digest are also in `ledger.head`, which may lag behind the file after a crash, and may
be missing.

Release 0.1.0 wrote lines without a digest. They are accepted unchecked before the first sealed line, whose digest
covers them all. An incomplete last line, left by a crash, is no damage: the call that it announced had not begun.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.run.disk import disk_boundary
from tasks.run.own_files import READ_AND_WRITE, open_own, replacing
from tasks.run.sealed import parse_json, read_regular

FILE_NAME = "ledger.jsonl"
HEAD_NAME = "ledger.head"
FORMAT = 2
UNSEALED_FORMAT = 1
"""The format of release 0.1.0, whose lines carry no digest."""

_SEALED = re.compile(rb'(?P<body>\{.*), "digest": "(?P<digest>[0-9a-f]{64})"\}')
_HEAD = re.compile(r"(?P<count>[0-9]{1,15}) (?P<digest>[0-9a-f]{64})\n")


@dataclass(frozen=True)
class Fault:
    """The damage of one line of a ledger; `is_foreign` if the line is as another release of kennel wrote it."""

    line: int
    why: str
    is_foreign: bool = False


@dataclass(frozen=True)
class Entry:
    """The content of one line that is as it was written."""

    line: int
    content: dict[str, Any]


@dataclass(frozen=True)
class Scan:
    """The lines of a ledger: those that are as they were written, and the damage, both in the order of the file."""

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...]


def scan(path: Path) -> Scan:
    """Read a ledger's file and check each of its lines.

    A line that was changed is a fault; the line after it is checked against the digest that the changed one carries,
    and may be whole. The head is read first: a line that is appended meanwhile is then one that it does not know of.

    Raises:
        OSError: the file cannot be read.
        Damaged: something else than a file is in its place.
    """
    head = _read_head(path)
    content = read_regular(path)
    lines, digests = _lines(content), _digests(content)
    found = list(_judged(content, lines, digests))
    faults = [each for each in found if isinstance(each, Fault)]
    if not lines:
        faults.append(Fault(1, "it has no line of a ledger" if content else "the file is empty"))
    elif not faults:
        faults += _missing_at_the_end(head, lines, digests)
    return Scan(tuple(each for each in found if isinstance(each, Entry)), tuple(faults))


def append(path: Path, content: dict[str, Any]) -> None:
    """Seal a line, append it and fsync it; what is left of an incomplete last line is removed first.

    Raises:
        DiskFailed: the line could not be written; the file is as it was, and the call that it announces is not made.
    """
    body = json.dumps(content)[:-1].encode()
    with disk_boundary("ledger", path), _locked(path) as descriptor:
        before = _completed(descriptor)
        digest = _digest(_last_digest(before), body)
        _write_line(descriptor, before, body + b', "digest": "' + digest.encode() + b'"}\n')
        _advance_head(path, before, digest)


def set_aside(path: Path) -> Path:
    """Rename a damaged ledger to `ledger.jsonl.damaged-<n>`, and return that path.

    Raises:
        OSError: the folder cannot be written.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.replace(aside)
    path.with_name(HEAD_NAME).unlink(missing_ok=True)
    return aside


def _lines(content: bytes) -> list[bytes]:
    """Return the complete lines; a last one whose newline alone is missing is complete."""
    *lines, rest = content.split(b"\n")
    is_torn = _SEALED.search(rest) is None
    return lines if is_torn else [*lines, rest]


def _digests(content: bytes) -> list[str | None]:
    found = [_SEALED.fullmatch(line) for line in _lines(content)]
    return [each["digest"].decode() if each else None for each in found]


def _judged(content: bytes, lines: list[bytes], digests: list[str | None]) -> Iterator[Entry | Fault]:
    """Yield each line's content, or what is wrong with it."""
    begin, is_first_sealed = 0, True
    for number, (line, digest) in enumerate(zip(lines, digests, strict=True), start=1):
        if digest is None:
            is_unchecked = is_first_sealed  # release 0.1.0 wrote it
            yield _parsed(number, line, UNSEALED_FORMAT) if is_unchecked else Fault(number, "the line has no digest")
        else:
            before = _seal_of(content[:begin]) if is_first_sealed else digests[number - 2]
            body = line[: -len(f', "digest": "{digest}"}}')]
            is_whole = before is not None and _digest(before, body) == digest
            yield _parsed(number, body + b"}", FORMAT) if is_whole else Fault(number, _CHANGED)
            is_first_sealed = False
        begin += len(line) + 1


_CHANGED = "the line, or its place after the line before it, is not as it was written"


def _parsed(number: int, text: bytes, format_: int) -> Entry | Fault:
    """Return a line's content if it is a JSON object, and a header of this format where it is a header."""
    try:
        content = parse_json(text)
    except ValueError as error:
        return Fault(number, str(error))
    if not isinstance(content, dict):
        return Fault(number, "the line is not a JSON object")
    header = content.get("header")
    if header is None:
        return Entry(number, content) if number > 1 else Fault(1, "the first line is no header")
    found = header.get("ledger") if isinstance(header, dict) else None
    if found == format_:
        return Entry(number, content)
    if found == FORMAT:
        return Fault(number, "the line has no digest")
    shown = found if isinstance(found, int) else "unreadable"
    return Fault(number, f"its format is {shown}, not {FORMAT}: another release of kennel wrote it", is_foreign=True)


def _missing_at_the_end(head: tuple[int, str] | None, lines: list[bytes], digests: list[str | None]) -> Iterator[Fault]:
    """Yield a fault if the head knows of lines that the file does not have."""
    if head is None:
        return
    count, digest = head
    if count > len(lines):
        yield Fault(len(lines) + 1, f"lines were lost: the file has {len(lines)}, and {count} were written")
    elif count < 1 or digests[count - 1] != digest:
        yield Fault(max(1, count), "lines were lost: the line is not the one that was written last")


def _read_head(path: Path) -> tuple[int, str] | None:
    try:
        found = _HEAD.fullmatch(read_regular(path.with_name(HEAD_NAME)).decode())
    except (OSError, ValueError):
        return None
    return (int(found["count"]), found["digest"]) if found else None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the file for appending, alone: threads of this process have ledgers of their own."""
    descriptor = open_own(path, READ_AND_WRITE | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _completed(descriptor: int) -> bytes:
    """Return the content up to the end of the last complete line; what follows it is removed from the file."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    if not content or content.endswith(b"\n"):
        return content
    if _SEALED.fullmatch(content.rpartition(b"\n")[2]):
        os.write(descriptor, b"\n")
        return content + b"\n"
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)
    return content[: content.rfind(b"\n") + 1]


def _write_line(descriptor: int, before: bytes, line: bytes) -> None:
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, len(before))
        raise


def _advance_head(path: Path, before: bytes, digest: str) -> None:
    """Write the number of lines and the last digest, unless the head knows of lines that were lost from this file.

    It is not fsynced, and may fail: a head that lags behind is accepted. It is replaced as a whole, for who reads it.
    """
    digests, head = _digests(before), _read_head(path) if before else None
    if head is not None and (head[0] > len(digests) or digests[head[0] - 1] != head[1]):
        return
    with suppress(OSError), replacing(path.with_name(HEAD_NAME)) as file:
        file.write(f"{len(digests) + 1} {digest}\n".encode())


def _last_digest(before: bytes) -> str:
    """Return the digest that the next line continues."""
    sealed = _SEALED.fullmatch(before[:-1].rpartition(b"\n")[2])
    return sealed["digest"].decode() if sealed else _seal_of(before)


def _seal_of(unsealed: bytes) -> str:
    return hashlib.sha256(unsealed).hexdigest()


def _digest(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + b"\n" + body).hexdigest()
