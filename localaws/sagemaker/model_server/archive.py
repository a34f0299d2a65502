"""Unpacks a `model.tar.gz` that may be hostile: no file outside the folder, no links out of it, no bomb."""

import posixpath
import tarfile
import zlib
from pathlib import Path

from localaws.container_view import as_in_container

MODEL_FOLDER = "/opt/ml/model"  # where the container sees what is unpacked
MAX_UNPACKED_BYTES = 30 * 1024**3  # the default volume of a SageMaker hosting instance
MAX_MEMBERS = 100_000
MAX_RATIO = 200  # unpacked : packed; gzip's own limit is about 1,030, models stay under 10
RATIO_FREE_BYTES = 64 * 1024**2  # a small file of zeros is no bomb


class ArchiveRefused(Exception):
    """The archive is broken or hostile; the message says which member and why."""


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> int:
    """Unpack a tar (gzip or plain) into `folder`, which is made; return the number of bytes written.

    Raises:
        ArchiveRefused: no tar, truncated, a member that leaves the folder, more than `max_bytes` or 200 times its size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    allowed = min(max_bytes, max(RATIO_FREE_BYTES, archive.stat().st_size * MAX_RATIO))
    try:
        with tarfile.open(archive, "r:*") as tar:
            unpacked = _extract(tar, folder, allowed)
            _read_to_its_end(tar, allowed)
            return unpacked
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        shown = as_in_container(str(error), folder, MODEL_FOLDER)
        raise ArchiveRefused(f"{type(error).__name__}: {shown}") from error


def _read_to_its_end(tar: tarfile.TarFile, allowed: int) -> None:
    """Read what follows the tar's last member: gzip's checksum comes last, and only a reader of all checks it."""
    passed = 0
    while tar.fileobj is not None and (piece := tar.fileobj.read(1 << 16)):
        passed += len(piece)
        if passed > allowed:
            raise ArchiveRefused(f"more than {allowed:,} bytes follow its last member")


def _extract(tar: tarfile.TarFile, folder: Path, allowed: int) -> int:
    unpacked = 0
    for number, member in enumerate(tar):
        unpacked += member.size
        if unpacked > allowed or number >= MAX_MEMBERS:
            raise ArchiveRefused(
                f"unpacks to more than {allowed:,} bytes or {MAX_MEMBERS:,} members, at {member.name!r}"
            )
        if not (member.isfile() or member.isdir()):
            raise ArchiveRefused(
                f"member {member.name!r} is neither a file nor a folder: links and devices are refused"
            )
        try:
            tar.extract(member, folder, filter=_private)
        except tarfile.OutsideDestinationError as error:  # its text has this machine's path
            there = posixpath.normpath(f"{MODEL_FOLDER}/{member.name}")
            raise ArchiveRefused(
                f"member {member.name!r} would be extracted to {there}, outside of {MODEL_FOLDER}"
            ) from error
    return unpacked


def _private(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Keep other users of the machine out, whatever the archive says: its server runs as this user."""
    safe = tarfile.data_filter(member, folder)
    return safe if safe.mode is None else safe.replace(mode=safe.mode & 0o700, deep=False)
