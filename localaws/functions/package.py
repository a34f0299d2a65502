"""Checks a function's zip and unpacks it under home/functions."""

from __future__ import annotations

import base64
import hashlib
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ZIPPED_LIMIT_BYTES = 52_428_800  # direct upload
UNZIPPED_LIMIT_BYTES = 262_144_000
_CHUNK_BYTES = 1 << 20


class BadPackageError(ValueError):
    """The zip cannot be deployed; the message is AWS's where AWS has one."""


@dataclass(frozen=True)
class Package:
    """An unpacked zip. `code_sha256` is base64, as Lambda reports it."""

    directory: Path
    archive: Path
    size_bytes: int
    code_sha256: str


def unpack(archive: Path, root: Path) -> Package:
    """Unpack a function's zip into `root/<sha256>`; the same zip is unpacked once.

    Raises: BadPackageError if it is no zip, is too large, or holds a name that leaves its folder.
    """
    digest = _sha256(archive)
    size_bytes = archive.stat().st_size
    directory, kept = root / digest.hex(), root / f"{digest.hex()}.zip"
    package = Package(directory, kept, size_bytes, base64.b64encode(digest).decode())
    if directory.exists():
        return package
    if size_bytes > ZIPPED_LIMIT_BYTES:
        raise BadPackageError(
            f"Request must be smaller than {ZIPPED_LIMIT_BYTES} bytes for the CreateFunction operation"
        )
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix="unpack-", dir=root))
    try:
        _extract(archive, staging)
        shutil.copyfile(archive, kept)
        staging.rename(directory)
    except BadPackageError:
        shutil.rmtree(staging)
        raise
    return package


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _extract(archive: Path, directory: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
            if sum(entry.file_size for entry in entries) > UNZIPPED_LIMIT_BYTES:
                raise BadPackageError(f"Unzipped size must be smaller than {UNZIPPED_LIMIT_BYTES} bytes")
            for entry in entries:
                _extract_entry(file, entry, directory)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise BadPackageError(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        ) from error


def _extract_entry(file: zipfile.ZipFile, entry: zipfile.ZipInfo, directory: Path) -> None:
    name, mode = PurePosixPath(entry.filename), entry.external_attr >> 16
    if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or stat.S_ISLNK(mode):
        raise BadPackageError(f"The zip holds an entry that localaws does not unpack: {entry.filename!r}")
    target = directory / name
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with file.open(entry) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK_BYTES)  # zipfile stops at the declared size and checks the CRC
    target.chmod(0o700 if mode & 0o100 else 0o600)
