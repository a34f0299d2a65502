"""The content of an S3 object as a file: written once while it arrives, read in pieces, never whole in memory."""

import base64
import hashlib
import os
import shutil
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CHUNK_BYTES = 1 << 20
INLINE_BYTES = 8 * 1024  # smaller contents are kept in memory: a file would cost more than it saves


class Crc32:
    """CRC32 with hashlib's interface."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Add `data`."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Return the 4 bytes, most significant first."""
        return self._value.to_bytes(4, "big")


CHECKSUMS: dict[str, Callable[[], Any]] = {
    "CRC32": Crc32,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}


def checksum(algorithm: str, pieces: Iterable[bytes]) -> bytes:
    """Return the raw checksum of `pieces`; `algorithm` is one of `CHECKSUMS`."""
    digest = CHECKSUMS[algorithm]()
    for piece in pieces:
        digest.update(piece)
    result: bytes = digest.digest()
    return result


class Staged:
    """A whole content in a file of its own, which is removed unless someone takes it."""

    def __init__(self, path: Path, size_bytes: int, md5: str, crc32: int) -> None:
        self.size_bytes = size_bytes
        self.md5 = md5
        self.crc32 = crc32
        self._path = path
        self._is_taken = False

    def __len__(self) -> int:
        return self.size_bytes

    def take(self) -> Path:
        """Return the file, which is the caller's from now on."""
        self._is_taken = True
        return self._path

    def whole(self) -> "Slice":
        """Return the content, for reading."""
        return Slice.of(self._path, self.size_bytes)

    def discard(self) -> None:
        """Remove the file if it was not taken."""
        if not self._is_taken:
            self._path.unlink(missing_ok=True)


class DamagedContentError(OSError):
    """A content is not what was stored: something else wrote to its file, or the disk lost it."""


@dataclass(frozen=True)
class Seal:
    """The CRC32 that a whole content has to have, and what is done when it has another."""

    crc32: int
    lose: Callable[[], None]


class Slice:
    """Some or all of a stored content. Stands where moto expects bytes: it has a length, is cut by ranges and iterates.

    The file is open from the start, so that a reader is not disturbed when the object is replaced or deleted. A content
    that has a seal and is read whole is checked before its last piece is given away.
    """

    def __init__(self, source: "_Descriptor", start: int, stop: int) -> None:
        self._source = source
        self.start = start
        self.stop = stop

    @classmethod
    def of(cls, path: Path, size_bytes: int, seal: Seal | None = None) -> "Slice":
        """Return the whole content of a file."""
        return cls(_Descriptor(path, size_bytes, seal), 0, size_bytes)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, cut: slice) -> "Slice":
        start, stop, _ = cut.indices(len(self))
        return Slice(self._source, self.start + start, self.start + max(start, stop))

    def __iter__(self) -> Iterator[bytes]:
        position, crc32 = self.start, 0
        seal = self._source.seal if len(self) == self._source.size_bytes else None
        while position < self.stop:
            piece = os.pread(self._source.number, min(CHUNK_BYTES, self.stop - position), position)
            crc32 = zlib.crc32(piece, crc32) if seal else 0
            if seal and (not piece or (position + len(piece) == self.stop and crc32 != seal.crc32)):
                seal.lose()
                raise DamagedContentError("the content was damaged on this machine's disk, and the object is gone")
            if not piece:
                raise OSError(f"content ended at {position} of {self.stop} bytes")
            position += len(piece)
            yield piece

    def __copy__(self) -> "Slice":
        return self

    def __bytes__(self) -> bytes:
        return b"".join(self)


class _Descriptor:
    """A file descriptor that is closed with its last user."""

    def __init__(self, path: Path, size_bytes: int, seal: Seal | None) -> None:
        self.size_bytes, self.seal = size_bytes, seal
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class GoneError(Exception):
    """The content was replaced or deleted between finding its key and opening it: find the key again."""


Content = bytes | Slice
Found = TypeVar("Found")

# Held while a key is replaced or deleted: moto removes the old content before its key is gone from the bucket.
REPLACING = threading.RLock()


def undisturbed(find: Callable[[], Found]) -> Found:
    """Return what `find` returns, which looks a key up and opens it; if it met a replacement, it looks again after it.

    `find` may be called twice: it must not have effects before it opens.
    """
    try:
        return find()
    except GoneError:
        with REPLACING:
            return find()


def pieces_of(content: Content) -> Iterable[bytes]:
    """Return the content in pieces of at most 1 MiB (bytes: one piece)."""
    return [content] if isinstance(content, bytes) else content


@dataclass
class Store:
    """The folder of the contents. It starts empty: moto's state, which names them, does not outlive the server."""

    folder: Path
    _parts: Iterator[str] = field(default_factory=lambda: iter(lambda: uuid.uuid4().hex, ""))

    def clear(self) -> None:
        """Remove every content."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def new_path(self) -> Path:
        """Return a path that nothing uses."""
        return self.folder / next(self._parts)

    def write(self, pieces: Iterable[bytes]) -> Staged:
        """Write `pieces` to a new file.

        Raises:
            OSError: the disk is full; nothing is left behind.
        """
        path, md5, size, crc32 = self.new_path(), hashlib.md5(usedforsecurity=False), 0, 0
        try:
            with path.open("wb", buffering=0) as file:
                for piece in pieces:
                    _write_all(file, piece)
                    md5.update(piece)
                    crc32 = zlib.crc32(piece, crc32)
                    size += len(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Staged(path, size, md5.hexdigest(), crc32)

    def concatenate(self, contents: Iterable[Content]) -> Staged:
        """Write contents one after the other to a new file; `md5` is left empty, as a multipart ETag is not one."""
        path, size, crc32 = self.new_path(), 0, 0
        try:
            with path.open("wb", buffering=0) as file:
                for content in contents:
                    for piece in pieces_of(content):
                        _write_all(file, piece)
                        crc32 = zlib.crc32(piece, crc32)
                    size += len(content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Staged(path, size, "", crc32)


def _write_all(file: Any, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def base64_of(raw: bytes) -> str:
    """Return base64 as S3's headers have it."""
    return base64.b64encode(raw).decode("ascii")
