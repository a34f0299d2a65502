"""Write the content of archives to the folder of a staging, under names of kennel's own and within limits.

What is written is limited by KENNEL_MAX_ARCHIVE_BYTES and KENNEL_MAX_ARCHIVE_RATIO while it is written. The folder is
deleted at the end of the staging. A kind is recognised by the content and not by the name: a server may send
`photos.tar.gz` as `download?id=7`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks.data.compressed import decompressed, readable
from tasks.data.entries import beyond_ratio
from tasks.data.tar_source import begins_tar
from tasks.run.disk import disk_boundary
from tasks.run.errors import SourceRefused
from tasks.run.own_files import ANEW, open_own
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.settings import Settings

BLOCK_BYTES = 512
_PIECE_BYTES = 2**20
_ZIP_MAGIC = b"PK"


class Pieces(Protocol):
    """Something that is read in pieces, such as a member of an archive."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most this many; b"" at the end."""


@dataclass
class Spool:
    """The folder that a source is unpacked to, and how many bytes it has there; `named` is what messages call it.

    The folder is made when it is needed. `packed_bytes` is the size of what is unpacked.
    """

    named: Path
    settings: Settings
    folder: Path
    progress: ProgressFactory
    packed_bytes: int
    size_bytes: int = 0

    def decompress(self, packed: Path, name: str, named: Path) -> Path:
        """Write the tar or the zip that a compressed file holds, and return its path; `named` is for messages.

        Raises:
            SourceRefused: it exceeds the limits, is damaged, or is no archive.
            DiskFailed: it cannot be written.
        """
        with self.progress("unpack", None, "B") as counter, decompressed(packed, named) as stream:
            return self.write(_Checked(stream, named), name, named, counter)

    def write(self, stream: Pieces, name: str, named: Path, counter: Progress) -> Path:
        """Write a stream to a file of this name and return its path.

        Raises:
            SourceRefused: the limits are exceeded, or the stream is damaged.
            DiskFailed: it cannot be written.
        """
        target = self.folder / name
        with disk_boundary("unpack", self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
        with disk_boundary("unpack", target), os.fdopen(open_own(target, ANEW), "wb") as file:
            while True:
                with readable(named):
                    piece = stream.read(_PIECE_BYTES)
                if not piece:
                    return target
                file.write(piece)
                self.size_bytes += len(piece)
                counter.advance(len(piece))
                self.check(self.size_bytes)

    def remove(self, path: Path) -> None:
        """Remove a file that was unpacked further.

        Raises:
            DiskFailed: it cannot be removed.
        """
        with disk_boundary("unpack", path):
            self.size_bytes -= path.stat().st_size
            path.unlink()

    def check(self, size_bytes: int) -> None:
        """Return if the source may unpack to this size.

        Raises:
            SourceRefused: it exceeds the limits.
        """
        variable = "KENNEL_MAX_ARCHIVE_RATIO"
        why = beyond_ratio(size_bytes, self.packed_bytes, self.settings)
        if size_bytes > self.settings.max_archive_bytes:
            variable = "KENNEL_MAX_ARCHIVE_BYTES"
            why = f"it has more than {variable}={self.settings.max_archive_bytes} bytes unpacked"
        if why is not None:
            raise SourceRefused("source", f"{self.named}", why, f"if you trust the source, raise {variable}")


class _Checked:
    """A decompressed stream that is refused at its first piece if it is no archive."""

    def __init__(self, stream: Pieces, named: Path) -> None:
        self._stream, self._named, self._is_begun = stream, named, False

    def read(self, size: int, /) -> bytes:
        piece = self._stream.read(size)
        if not self._is_begun:
            require_archive(piece[:BLOCK_BYTES], self._named)
            self._is_begun = True
        return piece


def require_archive(beginning: bytes, named: Path) -> None:
    """Return if what begins so is a tar or a zip.

    Raises:
        SourceRefused: it is neither.
    """
    if not (begins_tar(beginning) or beginning.startswith(_ZIP_MAGIC)):
        more = "give the folder or the archive that it was made of as --data"
        raise SourceRefused("source", f"{named}", "it is compressed, and holds neither a tar nor a zip", more)
