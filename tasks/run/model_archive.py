"""Read files of a model.tar.gz, which may be hostile.

Only regular files that are asked for are read, each of a bounded length; nothing else is unpacked, and the number of
decompressed bytes is limited. An error of the archive is told apart from one of where a file is written.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed
from tasks.run.own_files import replacing
from tasks.run.sealed import parse_json

MAX_META_BYTES = 16 * 2**20
MAX_UNPACKED_BYTES = 8 * 2**30
SERVED_MEMBERS = {
    "meta.json": MAX_META_BYTES,
    "graph.xml": 2**26,
    "graph.bin": 2**32,
    **dict.fromkeys(("code/inference.py", "code/preprocess.py", "code/graphs.py"), 2**20),
}
"""What serving needs of a model of any release, and the bytes that each file may have."""
_CODE = re.compile(r"code/([a-z_]+/)?[a-z_]+\.py")
_MAX_CODE_FILES = 64
_MOST_AT_ONCE_BYTES = 4 * 2**20


def read_member(archive: Path, name: str, label: str, *, most_bytes: int = MAX_META_BYTES) -> bytes:
    """Return a regular file of a local model.tar.gz, of at most so many bytes; `label` names the archive in errors.

    Raises:
        StageFailed: the archive has no such file, or is damaged or hostile, or cannot be read.
    """
    with opened(archive, label, name) as tar:
        for _, file in _files(tar, {name: most_bytes}):
            content = io.BytesIO()
            shutil.copyfileobj(file, content)
            return content.getvalue()
    raise AssertionError("unreachable: what is missing is an error")


def extract_served(archive: Path, label: str, folder: Path) -> None:
    """Write what serving needs of a local model.tar.gz into a folder: also the code that its own meta.json names.

    Raises:
        StageFailed, DiskFailed: as `extract_members` raises them.
    """
    named = _code_files(read_member(archive, "meta.json", label))
    extract_members(archive, {**SERVED_MEMBERS, **dict.fromkeys(named, 2**20)}, label, folder)


def _code_files(meta: bytes) -> list[str]:
    """Return the files of code that a meta.json names; none if it is damaged, which loading the model will tell."""
    try:
        content = parse_json(meta)
    except ValueError:
        return []
    files = content.get("files") if isinstance(content, dict) else None
    names = [name for name in files if _CODE.fullmatch(name)] if isinstance(files, dict) else []
    return names[:_MAX_CODE_FILES]


def extract_members(archive: Path, most_bytes: Mapping[str, int], label: str, folder: Path) -> None:
    """Write some regular files of a local model.tar.gz, each of at most so many bytes, into a folder, and nothing else.

    Raises:
        StageFailed: a file is missing or too long, or the archive is damaged or hostile, or cannot be read.
        DiskFailed: the folder cannot be written.
    """
    with opened(archive, label) as tar:
        for member, file in _files(tar, most_bytes):
            target = folder / _name(member)
            with disk_boundary(label, target, member.size):
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as written:
                    shutil.copyfileobj(file, written)


@contextmanager
def opened(archive: Path, label: str, name: str = "model") -> Iterator[tarfile.TarFile]:
    """Open a model.tar.gz to read it; an error of this source is none of what is written meanwhile.

    Raises:
        StageFailed: it is damaged or hostile, or cannot be read; the message says that it has no readable `name`.
    """
    try:
        with (
            _readable(archive) as file,
            gzip.GzipFile(fileobj=file) as unpacked,
            tarfile.open(fileobj=_Source(unpacked), mode="r:") as tar,  # type: ignore[call-overload]
        ):
            yield tar
    except (tarfile.TarError, EOFError, ValueError, TypeError, OverflowError) as error:
        why = f"{type(error).__name__}: {error}"
        raise StageFailed("trained model", f"{label} has no readable {name}", why, "kennel logs") from error


class _Source:
    """What an archive unpacks to, of a bounded length; what fails in reading it is a `ReadError` and no `OSError`."""

    def __init__(self, unpacked: gzip.GzipFile) -> None:
        self._unpacked = unpacked
        self.tell = unpacked.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes is too long")
        with _read_errors():
            return self._unpacked.read(size)

    def seek(self, position: int) -> int:
        if not 0 <= position <= MAX_UNPACKED_BYTES:
            raise tarfile.ReadError(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        with _read_errors():
            return self._unpacked.seek(position)


def _readable(archive: Path) -> IO[bytes]:
    with _read_errors():
        return archive.open("rb")


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, zlib.error) as error:
        raise tarfile.ReadError(str(error)) from error


def _files(tar: tarfile.TarFile, most_bytes: Mapping[str, int]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the first entry of each name, in the archive's order; each has to be a regular file, not too long."""
    missing = set(most_bytes)
    for member in tar:
        name = _name(member)
        if name in missing:
            if not member.isreg() or not 0 <= member.size <= most_bytes[name]:
                raise ValueError(f"{name} is not a regular file of at most {most_bytes[name]} bytes")
            file = tar.extractfile(member)
            assert file is not None  # it is a regular file
            yield member, file
            missing.remove(name)
        if not missing:
            return
    raise ValueError(f"it has no member {sorted(missing)[0]}")


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")
