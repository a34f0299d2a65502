"""Decompress gzip, zstd, bzip2 and xz as streams, known by how they begin, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import zstandard

from tasks.data.archive import beginning_of
from tasks.run.errors import SourceRefused

Stream = io.BufferedIOBase | IO[bytes]

AGAIN = "make the archive anew, or download it again"

_PIECE_BYTES = 2**20
_WINDOW_BYTES = 2**27
"""The most bytes that a stream may refer back to, which decompressing keeps in memory; that of `zstd --long`."""

_BESIDE_WINDOW_BYTES = 2**20
_TOO_WIDE = ("Frame requires too much memory", "Memory usage limit exceeded")
"""What zstd and liblzma say of a stream that needs more memory."""

_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile)
"""What decompressing raises."""


def is_compressed(beginning: bytes) -> bool:
    """Tell whether a file that begins so is compressed in a way that is read."""
    return any(beginning.startswith(magic) for magic in _OPENED)


@contextmanager
def decompressed(path: Path, named: Path) -> Iterator[Stream]:
    """Yield the content of a compressed file as a stream; `named` is what messages call it.

    Raises:
        SourceRefused: it is damaged, is cut, or needs too much memory.
    """
    beginning = beginning_of(path)
    opened = next(open_it for magic, open_it in _OPENED.items() if beginning.startswith(magic))
    with path.open("rb") as file, readable(named), opened(file) as stream:
        yield stream


@contextmanager
def readable(named: Path) -> Iterator[None]:
    """Translate what decompressing raises inside the block.

    Raises:
        SourceRefused: the archive is damaged, is cut, or needs too much memory.
    """
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # it is the disk's
            raise
        if any(text in str(error) for text in _TOO_WIDE):
            why = f"its window is too large: unpacking it needs more than {_WINDOW_BYTES // 2**20} MiB of memory"
            more = "pack it anew with a smaller one, such as that of zstd --long=27, or give the tar in it as --data"
            raise SourceRefused("source", f"{named}", why, more) from error
        raise SourceRefused("source", f"{named}", f"it is damaged or cut: {error}", AGAIN) from error
    except RuntimeError as error:  # a member of a zip is encrypted, or packed in a way that Python does not know
        more = "unpack it, and give the folder as --data"
        raise SourceRefused("source", f"{named}", f"it cannot be unpacked: {error}", more) from error


class _Xz(io.RawIOBase):
    """The content of an xz. `lzma.LZMAFile` takes no limit on memory, of which a header may ask for 4 GiB."""

    def __init__(self, file: BinaryIO) -> None:
        self._pieces, self._piece = _xz_pieces(file), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # what io.BufferedReader gives
        while not self._piece and (piece := next(self._pieces, None)) is not None:
            self._piece = memoryview(piece)
        size = min(len(buffer), len(self._piece))
        buffer[:size], self._piece = self._piece[:size], self._piece[size:]
        return size


def _xz_pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all streams of an xz."""
    packed = file.read(_PIECE_BYTES)
    while packed:
        decoder = lzma.LZMADecompressor(memlimit=_WINDOW_BYTES + _BESIDE_WINDOW_BYTES)
        yield decoder.decompress(packed, _PIECE_BYTES)
        while not decoder.eof:
            packed = file.read(_PIECE_BYTES) if decoder.needs_input else b""
            if decoder.needs_input and not packed:
                raise EOFError("it ends before its end-of-stream marker")
            yield decoder.decompress(packed, _PIECE_BYTES)
        packed = decoder.unused_data.lstrip(b"\0")  # zeros between streams are padding
        while not packed and (more := file.read(_PIECE_BYTES)):
            packed = more.lstrip(b"\0")


def _open_zstd(file: BinaryIO) -> Stream:
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(file, read_across_frames=True)


_OPENED: Mapping[bytes, Callable[[BinaryIO], Stream]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"\x28\xb5\x2f\xfd": _open_zstd,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lambda file: io.BufferedReader(_Xz(file), _PIECE_BYTES),
}
"""How what begins with these bytes is decompressed."""
